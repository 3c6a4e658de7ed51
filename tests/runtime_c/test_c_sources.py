"""The C of runtime_c under the host's compilers, all warnings as errors, and what it does."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc import runtime_c
from lepton_cc.emulator import devices
from lepton_cc.linking import BoardPort, board_source
from lepton_cc.runtime_c.status import Status, status_text

ROOT = Path(runtime_c.__file__).parent
BOARD = ROOT / "boards" / "control_core"
HEADER = ROOT / "include" / "lepton" / "lepton.h"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
FREESTANDING = ("-ffreestanding", "-fno-builtin")
INCLUDES = (f"-I{ROOT / 'include'}", f"-I{BOARD}")

USES_ALL_OF_THE_HEADER = """
#include "lepton/lepton.h"
LEPTON_ALIGNED(16) static uint8_t arena[64];
LEPTON_STATIC_ASSERT(LEPTON_ARENA_ALIGNMENT == 16, arena_alignment);
static void run_here(void *self, int32_t count, lepton_task task, void *context)
{
    (void)self;
    task(context, 0, count);
}
static void fill(void *context, int32_t begin, int32_t end)
{
    uint8_t *LEPTON_RESTRICT bytes = (uint8_t *)context;
    LEPTON_STATIC_ASSERT(sizeof(lepton_status) == 4, status_size);
    int32_t i;
    for (i = begin; i < end; ++i) {
        bytes[i] = 1u;
    }
}
int main(void)
{
    const lepton_parallel parallel = {run_here, NULL};
    parallel.run(parallel.self, 64, fill, arena);
    return arena[63] == 1u && (uintptr_t)arena % 16u == 0u ? (int)LEPTON_OK : 1;
}
"""


def _compile(*arguments: str) -> None:
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("source", ["boards/control_core/main.c", "boards/memory.c"])
def test_sources_compile_without_a_warning(compiler: str, source: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out.o")
    _compile(
        compiler, "-std=c99", "-O2", *WARNINGS, *FREESTANDING, *INCLUDES,
        "-c", str(ROOT / source), "-o", out,
    )  # fmt: skip


def test_glue_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "m.h").write_text(
        '#include "lepton/lepton.h"\n'
        "typedef struct { const float *a; const int64_t *b; } m_inputs;\n"
        "typedef struct { uint8_t *c; } m_outputs;\n"
        "lepton_status m_run(const m_inputs *in, const m_outputs *out, void *arena);\n"
    )
    ports = (BoardPort('serving_default_"x":0', "float", 12), BoardPort("\\ü1??/", "int64_t", 0))
    glue = board_source("m", ports, (BoardPort("c", "uint8_t", 5),), arena_bytes=48)
    (tmp_path / "m_board.c").write_text(glue)
    _compile(
        compiler, "-std=c99", *WARNINGS, *FREESTANDING, *INCLUDES, f"-I{tmp_path}",
        "-c", str(tmp_path / "m_board.c"), "-o", str(tmp_path / "m_board.o"),
    )  # fmt: skip
    # Names arrive in the object as they were given.
    data = (tmp_path / "m_board.o").read_bytes()
    assert all(port.name.encode() + b"\0" in data for port in ports)


@pytest.mark.parametrize("standard", ["c99", "c11", "c++11", "c++17"])
def test_public_header_in_every_standard(compiler: str, standard: str, tmp_path: Path) -> None:
    language = "c++" if standard.startswith("c++") else "c"
    source = tmp_path / "use.c"
    source.write_text(USES_ALL_OF_THE_HEADER)
    _compile(
        compiler, f"-std={standard}", *WARNINGS, *INCLUDES, "-x", language, str(source),
        "-o", str(tmp_path / "use"),
    )  # fmt: skip
    assert subprocess.run([str(tmp_path / "use")], check=False).returncode == 0


def _defines(header: Path, prefix: str) -> dict[str, int]:
    text = header.read_text(encoding="utf-8")
    found = re.findall(rf"#define {prefix}(\w+) (0x[0-9a-f]+|\d+)", text)
    return {name: int(value, 0) for name, value in found}


def test_python_knows_every_status() -> None:
    found = re.findall(r"LEPTON_(\w+) = (-?\d+)", HEADER.read_text(encoding="utf-8"))
    assert {name: int(value) for name, value in found} == {
        status.name: status.value for status in Status
    }
    assert status_text(-1) == "LEPTON_ERROR_NULL_ARGUMENT (-1)"
    assert status_text(-99) == "-99"


def test_emulator_knows_the_board() -> None:
    defines = _defines(BOARD / "board.h", "LEPTON_BOARD_")
    assert defines.pop("VERSION") == 1
    assert defines.pop("GUARD_BYTES") >= 8  # at least an element of every type
    assert defines == {name: getattr(devices, f"BOARD_{name}") for name in defines}


@pytest.fixture(scope="module")
def memory_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = shutil.which("gcc") or shutil.which("clang")
    if path is None:
        pytest.skip("no host C compiler")
    names = ("memcpy", "memmove", "memset", "memcmp")
    out = tmp_path_factory.mktemp("memory") / "memory.so"
    _compile(
        path, "-std=c99", "-O2", *WARNINGS, *FREESTANDING, "-shared", "-fPIC",
        *(f"-D{name}=lepton_tested_{name}" for name in names),
        str(ROOT / "boards" / "memory.c"), "-o", str(out),
    )  # fmt: skip
    return ctypes.CDLL(str(out))


OFFSETS = st.integers(0, 40)
SIZES = st.integers(0, 80)
CONTENT = bytes((37 * index + 11) % 256 for index in range(128))


def _call(library: ctypes.CDLL, name: str, *arguments: int) -> int:
    function = getattr(library, f"lepton_tested_{name}")
    function.argtypes = [ctypes.c_size_t] * len(arguments)
    function.restype = ctypes.c_size_t
    return int(function(*arguments))


@settings(max_examples=300, deadline=None)
@given(target=OFFSETS, source=OFFSETS, size=SIZES)
def test_memmove_as_bytes(memory_library: ctypes.CDLL, target: int, source: int, size: int) -> None:
    buffer = ctypes.create_string_buffer(CONTENT, len(CONTENT))
    base = ctypes.addressof(buffer)
    assert _call(memory_library, "memmove", base + target, base + source, size) == base + target
    expected = bytearray(CONTENT)
    expected[target : target + size] = CONTENT[source : source + size]
    assert buffer.raw == bytes(expected)


@settings(max_examples=200, deadline=None)
@given(target=OFFSETS, source=OFFSETS, size=SIZES)
def test_memcpy_as_bytes(memory_library: ctypes.CDLL, target: int, source: int, size: int) -> None:
    buffer = ctypes.create_string_buffer(128)
    origin = ctypes.create_string_buffer(CONTENT, len(CONTENT))
    base = ctypes.addressof(buffer)
    _call(memory_library, "memcpy", base + target, ctypes.addressof(origin) + source, size)
    expected = bytearray(128)
    expected[target : target + size] = CONTENT[source : source + size]
    assert buffer.raw == bytes(expected)


@settings(max_examples=200, deadline=None)
@given(target=OFFSETS, value=st.integers(0, 300), size=SIZES)
def test_memset_as_bytes(memory_library: ctypes.CDLL, target: int, value: int, size: int) -> None:
    buffer = ctypes.create_string_buffer(CONTENT, len(CONTENT))
    _call(memory_library, "memset", ctypes.addressof(buffer) + target, value, size)
    expected = bytearray(CONTENT)
    expected[target : target + size] = bytes([value % 256]) * size
    assert buffer.raw == bytes(expected)


@settings(max_examples=100, deadline=None)
@given(lhs=st.binary(max_size=9), rhs=st.binary(max_size=9))
def test_memcmp_orders_bytes(memory_library: ctypes.CDLL, lhs: bytes, rhs: bytes) -> None:
    size = min(len(lhs), len(rhs))
    left = ctypes.create_string_buffer(lhs)
    right = ctypes.create_string_buffer(rhs)
    compare = memory_library.lepton_tested_memcmp
    compare.restype = ctypes.c_int
    answer = compare(left, right, ctypes.c_size_t(size))
    assert (answer > 0) - (answer < 0) == (lhs[:size] > rhs[:size]) - (lhs[:size] < rhs[:size])
