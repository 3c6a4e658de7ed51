"""The C of driver and boards under the host's compilers, all warnings as errors, and for rv32."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lepton_cc.linking import npu_sources
from tests.lepton_cc.firmware import SOFT_FLOAT, toolchain_for
from tests.runtime_c.npu_driver.bindings import (
    DRIVER,
    HEADER,
    HOST_BOARD,
    INCLUDES,
    ROOT,
    WARNINGS,
    build,
    codes,
)

FREESTANDING = ("-ffreestanding", "-fno-builtin")
CORE = ROOT / "boards" / "control_core"

USES_THE_HEADER = """
#include "lepton/npu.h"
#include "lepton/application.h"
static uint32_t registers[4];
static uint32_t read_register(void *user, uint32_t offset) { return ((uint32_t *)user)[offset]; }
static void write_register(void *, uint32_t, uint32_t) {}
int main() {
    const lpt_host_bus bus = {registers, read_register, write_register, NULL, NULL};
    lpt_device device;
    LEPTON_STATIC_ASSERT(sizeof(lpt_code) == 4, code_size);
    return lpt_probe(&device, &bus) == LPT_ERROR_NO_DEVICE ? 0 : 1;
}
"""


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_driver_without_a_warning(compiler: str, bits: str, level: str, tmp_path: Path) -> None:
    for source in sorted(DRIVER.glob("*.c")):
        build(
            compiler, "-std=c99", level, bits, *WARNINGS, *FREESTANDING,
            f"-I{ROOT / 'include'}", "-c", str(source), "-o", str(tmp_path / "out.o"),
        )  # fmt: skip


def test_boards_without_a_warning(compiler: str, tmp_path: Path) -> None:
    sources = (*HOST_BOARD.glob("*.c"), CORE / "application.c", CORE / "main.c")
    for source in sorted(sources):
        build(
            compiler, "-std=c99", "-O2", *WARNINGS, *INCLUDES, f"-I{CORE}",
            "-c", str(source), "-o", str(tmp_path / "out.o"),
        )  # fmt: skip


@pytest.mark.parametrize("standard", ["c++11", "c++17"])
def test_header_in_cpp(compiler: str, standard: str, tmp_path: Path) -> None:
    source = tmp_path / "use.cpp"
    source.write_text(USES_THE_HEADER)
    build(
        compiler, f"-std={standard}", *WARNINGS, f"-I{ROOT / 'include'}", "-c", str(source),
        "-o", str(tmp_path / "use.o"),
    )  # fmt: skip


def test_driver_has_no_state_and_needs_no_library(tmp_path: Path) -> None:
    """No writable data; of other code only what a compiler may call by itself."""
    toolchain = toolchain_for(SOFT_FLOAT)
    nm = shutil.which("nm") or shutil.which("llvm-nm")
    if nm is None:
        pytest.skip("no nm")
    undefined: set[str] = set()
    defined: set[str] = set()
    for source in npu_sources():
        out = tmp_path / f"{source.stem}.o"
        build(
            *toolchain.command, *toolchain.target_arguments("rv32imc", "ilp32"), "-std=c99", "-O2",
            *FREESTANDING, f"-I{ROOT / 'include'}", f"-I{CORE}", "-c", str(source), "-o", str(out),
        )  # fmt: skip
        listing = subprocess.run([nm, str(out)], capture_output=True, text=True, check=True).stdout
        for kind, name in re.findall(r"^[0-9a-f ]+ (\w) (\S+)$", listing, re.M):
            assert kind not in "dDbBC", f"{name} of {source.name} is writable"
            (undefined if kind == "U" else defined).add(name)
    assert undefined - defined <= {"memset", "memcpy", "lepton_board_sleep"}


def test_codes_are_distinct_and_documented() -> None:
    text = HEADER.read_text(encoding="utf-8")
    assert len(set(codes().values())) == len(codes()) > 35
    described = re.findall(r"^    LPT_(\w+) = -?\d+,?\s+/\* \S", text, re.M)
    assert set(codes()) - set(described) == {"OK"}
    page = (ROOT.parent.parent / "docs" / "npu-driver.md").resolve()
    if not page.is_file():
        page = ROOT.resolve().parent / "docs" / "npu-driver.md"
    rows = dict(re.findall(r"^\| (-?\d+) `LPT_(\w+)`", page.read_text(encoding="utf-8"), re.M))
    assert {name: str(code) for name, code in codes().items()} == {v: k for k, v in rows.items()}
