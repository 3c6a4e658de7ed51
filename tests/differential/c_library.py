"""Builds the C99 of a compilation into a shared library, warnings as errors, and runs it."""

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lepton_cc import runtime_c
from lepton_cc.artifacts.header import header_text
from lepton_cc.codegen.c.module import emit_c_module
from lepton_cc.codegen.c.weights import weights_assembly
from lepton_cc.codegen.program import Program
from lepton_cc.compiler import Compilation
from lepton_cc.ir.tensor import Array
from lepton_cc.report import MemoryReport

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
_GUARD_BYTES = 64
_GUARD = 0xA5
_ALIGNMENT = 64
_COMPILER_SECONDS = 600


def write_c(compilation: Compilation, folder: Path) -> tuple[Path, ...]:
    """Writes NAME.h, NAME.c and the weights; gives the sources to compile."""
    program = compilation.program
    name = program.name
    # Nothing here depends on the figures of flash and stack that the header states.
    memory = MemoryReport(program.arena_bytes, 0, 0, True, 0, 0, 0, 0, 0, 0, 0, "", ())
    (folder / f"{name}.h").write_text(header_text(program, memory, ()), encoding="utf-8")
    source, weights = folder / f"{name}.c", folder / f"{name}_weights.S"
    source.write_text(emit_c_module(program), encoding="utf-8")
    if not program.constants_bytes:
        return (source,)
    weights.write_text(weights_assembly(name), encoding="utf-8")
    (folder / f"{name}_weights.bin").write_bytes(program.constants_blob())
    return (source, weights)


def compile_c(
    sources: Sequence[Path], out: Path, compiler: str, flags: Sequence[str], *, shared: bool
) -> None:
    """Compiles and links the sources; a warning fails the test with the compiler's words."""
    kind = ("-shared", "-fPIC") if shared else ()
    include = Path(runtime_c.__file__).parent.resolve() / "include"
    command = [compiler, *WARNINGS, *flags, *kind, f"-I{include}", "-I."]
    done = subprocess.run(
        [*command, "-o", str(out), *map(str, sources)],
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=_COMPILER_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:4000]


def guarded_bytes(size: int) -> NDArray[np.uint8]:
    """`size` bytes of 0xa5 at a cache line, between guards of the same; see `check_guards`."""
    raw = np.full(size + 2 * _GUARD_BYTES + _ALIGNMENT, _GUARD, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT + _GUARD_BYTES
    return raw[start : start + size]


def check_guards(buffer: NDArray[np.uint8], what: str) -> None:
    """Fails if a byte around a guarded buffer was written."""
    raw = buffer.base
    assert isinstance(raw, np.ndarray)
    start = buffer.ctypes.data - raw.ctypes.data
    around = np.concatenate([raw[:start], raw[start + buffer.size :]])
    assert (around == _GUARD).all(), f"code wrote outside {what}"


class GuardedCall:
    """The buffers of one call: inputs, outputs and arena, each between guards."""

    def __init__(self, program: Program, inputs: Mapping[str, Array]) -> None:
        self._program = program
        self._inputs = [np.ascontiguousarray(inputs[port.name]) for port in program.inputs]
        self._placed = [guarded_bytes(array.nbytes) for array in self._inputs]
        for placed, array in zip(self._placed, self._inputs, strict=True):
            placed[:] = np.frombuffer(array.tobytes(), dtype=np.uint8)
        self._results = [guarded_bytes(port.type.size_bytes) for port in program.outputs]
        self._arena = guarded_bytes(program.arena_bytes)
        self._in = _addresses(self._placed)
        self._out = _addresses(self._results)

    @property
    def arguments(self) -> tuple[int, int, int]:
        """Addresses of the struct of inputs, of that of outputs, and of the arena."""
        return (
            ctypes.addressof(self._in),
            ctypes.addressof(self._out),
            self._arena.ctypes.data,
        )

    def outputs(self) -> dict[str, Array]:
        """The outputs, after all guards and inputs were found as they were."""
        for placed, array in zip(self._placed, self._inputs, strict=True):
            check_guards(placed, "an input")
            assert placed.tobytes() == array.tobytes(), "code changed an input"
        for result in self._results:
            check_guards(result, "an output")
        check_guards(self._arena, "the arena")
        return {
            port.name: np.frombuffer(result.tobytes(), dtype=port.type.dtype.numpy).reshape(
                port.type.dims
            )
            for port, result in zip(self._program.outputs, self._results, strict=True)
        }


def _addresses(buffers: Sequence[NDArray[np.uint8]]) -> "ctypes.Array[ctypes.c_void_p]":
    pointers = [buffer.ctypes.data for buffer in buffers]
    return (ctypes.c_void_p * max(len(pointers), 1))(*pointers)


class CLibrary:
    """The C of a compilation in this process."""

    def __init__(
        self, compilation: Compilation, folder: Path, compiler: str, flags: Sequence[str]
    ) -> None:
        self._program = compilation.program
        library = folder / f"lib{self._program.name}.so"
        compile_c(write_c(compilation, folder), library, compiler, flags, shared=True)
        loaded = ctypes.CDLL(str(library))
        self._run = getattr(loaded, f"{self._program.name}_run")
        self._run.argtypes = [ctypes.c_void_p] * 3
        self._run.restype = ctypes.c_int32

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once between guards."""
        call = GuardedCall(self._program, inputs)
        assert self._run(*call.arguments) == 0
        return call.outputs()
