"""The driver and the emulated engine as one shared library, for ctypes."""

import ctypes
import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lepton_cc import runtime_c
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.npu import abi

ROOT = Path(runtime_c.__file__).parent
HEADER = ROOT / "include" / "lepton" / "npu.h"
DRIVER = ROOT / "npu" / "driver"
EMULATOR = ROOT / "npu" / "emulator"
HOST_BOARD = ROOT / "boards" / "host"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
INCLUDES = tuple(f"-I{folder}" for folder in (ROOT / "include", EMULATOR, HOST_BOARD))
ARITHMETIC = ("-ffp-contract=off", "-fno-math-errno")

_U16, _U32, _PTR = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_void_p

READ32 = ctypes.CFUNCTYPE(_U32, _PTR, _U32)
WRITE32 = ctypes.CFUNCTYPE(None, _PTR, _U32, _U32)
TRANSLATE = ctypes.CFUNCTYPE(
    ctypes.c_int32, _PTR, _U32, _PTR, _U32, _U32, ctypes.POINTER(ctypes.c_uint32)
)
WAIT = ctypes.CFUNCTYPE(ctypes.c_int32, _PTR)


_BOARD = """
#include "lepton/npu.h"
static const lpt_host_bus *chosen;
void choose_bus(const lpt_host_bus *bus);
void choose_bus(const lpt_host_bus *bus) { chosen = bus; }
const lpt_host_bus *lepton_npu_bus(void) { return chosen; }
"""


class HostBus(ctypes.Structure):
    """lpt_host_bus."""

    _fields_ = [
        ("user", _PTR),
        ("read32", READ32),
        ("write32", WRITE32),
        ("translate", TRANSLATE),
        ("wait", WAIT),
    ]


class Device(ctypes.Structure):
    """lpt_device."""

    _fields_ = [
        ("bus", ctypes.POINTER(HostBus)),
        ("hardware_version", _U32),
        ("build", _U32),
        ("capabilities", _U32),
        ("abi_major", _U16),
        ("abi_minor", _U16),
        ("macs", _U16),
        ("lanes", _U16),
        ("spm_bytes", _U32),
        ("wbuf_bytes", _U32),
        ("accumulators", _U32),
        ("line_buffer_bytes", _U32),
    ]


class Model(ctypes.Structure):
    """lpt_model."""

    _fields_ = [
        ("payload", _PTR),
        *(
            (name, _U32)
            for name in (
                "size_bytes",
                "arena_bytes",
                "spm_bytes",
                "wbuf_bytes",
                "num_segments",
                "num_inputs",
                "num_outputs",
                "num_layers",
            )
        ),
        ("sections", _U32 * 16),
    ]


class PortInfo(ctypes.Structure):
    """lpt_port_info."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("size_bytes", _U32),
        ("dtype", _U32),
        ("rank", _U32),
        ("dims", _U32 * 6),
        ("scale_bits", _U32),
        ("zero_point", ctypes.c_int32),
    ]


class Memory(ctypes.Structure):
    """lpt_memory."""

    _fields_ = [
        ("arena", _PTR),
        ("arena_bytes", _U32),
        ("inputs", ctypes.POINTER(_PTR)),
        ("outputs", ctypes.POINTER(_PTR)),
        ("state", _PTR),
        ("state_bytes", _U32),
        ("trace", _PTR),
        ("trace_bytes", _U32),
    ]


class Job(ctypes.Structure):
    """lpt_job."""

    _fields_ = [
        ("device", _PTR),
        ("model", _PTR),
        ("segment", _U32),
        ("watchdog_cycles", _U32),
        ("status", ctypes.c_int32),
    ]


class FaultReport(ctypes.Structure):
    """lpt_fault_report."""

    _fields_ = [
        *(
            (name, _U32)
            for name in (
                "code",
                "packet",
                "opcode",
                "sequence",
                "word",
                "address",
                "segment",
                "layer",
            )
        ),
        ("operation", ctypes.c_char_p),
        ("nodes", ctypes.c_char_p),
    ]


class LayerReport(ctypes.Structure):
    """lpt_layer_report."""

    _fields_ = [
        ("segment", _U32),
        ("layer", _U32),
        ("operation", ctypes.c_char_p),
        ("nodes", ctypes.c_char_p),
    ]


class HostEngine(ctypes.Structure):
    """lepton_host_engine."""

    _fields_ = [
        ("windows", abi.Window * 16),
        ("memory", abi.HostMemory),
        ("emulator", _PTR),
        ("bus", HostBus),
    ]


def host_compiler() -> str:
    """gcc or clang; skips where neither is."""
    path = shutil.which("gcc") or shutil.which("clang")
    if path is None:
        pytest.skip("no host C compiler")
    return path


def driver_sources() -> list[str]:
    """All of the driver but the call of generated code, which needs a board."""
    return [str(path) for path in sorted(DRIVER.glob("*.c")) if path.name != "lepton_npu.c"]


def engine_sources() -> list[str]:
    """The emulator, and its face for programs on the host."""
    return [*map(str, sorted(EMULATOR.glob("*.c"))), str(HOST_BOARD / "engine.c")]


def build(*arguments: str) -> None:
    """Runs a compiler; its complaint becomes the test's."""
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@functools.cache
def library(folder: Path) -> ctypes.CDLL:
    """Driver, engine, and the call of generated code on the bus that was chosen last."""
    out, board = folder / "driver.so", folder / "board.c"
    board.write_text(_BOARD, encoding="utf-8")
    build(
        host_compiler(), "-std=c99", "-O2", "-fPIC", "-shared", *ARITHMETIC, *INCLUDES,
        *driver_sources(), str(DRIVER / "lepton_npu.c"), *engine_sources(), str(board),
        "-o", str(out),
    )  # fmt: skip
    found = ctypes.CDLL(str(out))
    found.lpt_strerror.restype = found.lpt_fault_name.restype = ctypes.c_char_p
    found.lpt_counter.restype = found.lpt_estimated_cycles.restype = ctypes.c_uint64
    found.lpt_emulator_bytes.restype = ctypes.c_size_t
    found.lpt_interrupt.restype = found.lpt_diagnosis_bytes.restype = ctypes.c_uint32
    return found


@functools.cache
def codes() -> dict[str, int]:
    """The codes of npu.h: `ERROR_BAD_MAGIC` -> -32."""
    found = re.findall(r"^    LPT_(\w+) = (-?\d+)", HEADER.read_text(encoding="utf-8"), re.M)
    return {name: int(value) for name, value in found}


def code_name(code: int) -> str:
    """The name of a code without LPT_."""
    return next(name for name, value in codes().items() if value == code)


class AlignedBytes:
    """Memory at a multiple of 16, with guard bytes behind that must not change."""

    _GUARD = b"\xe7" * 32

    def __init__(self, content: bytes, misalignment: int = 0) -> None:
        self.size_bytes = len(content)
        self._buffer = ctypes.create_string_buffer(self.size_bytes + 16 + len(self._GUARD))
        self.address = -(-ctypes.addressof(self._buffer) // 16) * 16 + misalignment
        ctypes.memmove(self.address, content + self._GUARD, self.size_bytes + len(self._GUARD))

    def fill(self, byte: bytes) -> None:
        """Overwrites all of it."""
        ctypes.memmove(self.address, byte * self.size_bytes, self.size_bytes)

    @property
    def content(self) -> bytes:
        """The bytes; the guard is checked."""
        found = ctypes.string_at(self.address, self.size_bytes + len(self._GUARD))
        assert found[self.size_bytes :] == self._GUARD
        return found[: self.size_bytes]


class Engine:
    """An emulated engine of a machine, behind the bus that the driver is given."""

    def __init__(self, machine: Machine, found: ctypes.CDLL) -> None:
        self.library = found
        self.config = abi.config_of(machine)
        size = found.lpt_emulator_bytes(ctypes.byref(self.config))
        self._memory = ctypes.create_string_buffer(size)
        self.host = HostEngine()
        assert found.lepton_host_engine_create(
            ctypes.byref(self.host), ctypes.byref(self.config), self._memory, ctypes.c_size_t(size)
        )
        self.device = Device()
        assert found.lpt_probe(ctypes.byref(self.device), ctypes.byref(self.host.bus)) == 0
