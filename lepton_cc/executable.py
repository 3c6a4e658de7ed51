"""Running a compiled program in this process: machine code, arena, constants and ports."""

import ctypes
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.codegen.program import Program
from lepton_cc.codegen.targets.loader import runs_on_this_machine
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Value
from lepton_cc.ir.interpreter import checked_input
from lepton_cc.ir.tensor import Array
from lepton_cc.thread_pool import LentThreads

_ALIGNMENT = 64
# Written behind the arena and checked after each run: code must stay inside what it asked for.
_GUARD = np.frombuffer(b"lepton arena end" * 4, dtype=np.uint8)


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes that start at a cache line."""
    raw = np.zeros(size + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


class Executable:
    """A program as machine code in this process, with one arena. Not to be run by two threads.

    With `profile`, its code has hooks: each run reads the clock before each kernel call and after
    the last one into `ticks`, u64[number of calls + 1].
    """

    def __init__(self, program: Program, llvm_level: int, *, profile: bool = False) -> None:
        if not runs_on_this_machine(program.target):
            raise refuse(
                Code.TARGET_UNSUPPORTED,
                f"code for {program.target.name} does not run on this machine",
                hint="compile for --target=host to run here",
            )
        self._program = program
        text = emit_module(program, in_process=True, profile=profile)
        self._code = LoadedCode(text, program.target, llvm_level)
        self.ticks = np.zeros(len(program.calls) + 1 if profile else 0, np.uint64)
        self._hooks = (self.ticks.ctypes.data,) if profile else ()
        parameters = 5 + len(self._hooks)
        self._function = self._code.function(f"{program.name}_execute", parameters)
        self._repeat = self._code.function(f"{program.name}_repeat", 5)
        self._weights = aligned_bytes(program.constants_bytes)
        self._weights[:] = np.frombuffer(program.constants_blob(), dtype=np.uint8)
        self._arena = aligned_bytes(program.arena_bytes + _GUARD.size)
        self._arena[program.arena_bytes :] = _GUARD

    def run(
        self, inputs: Mapping[str, Array], *, threads: LentThreads | None = None
    ) -> dict[str, Array]:
        """Runs the machine code once, its parallel loops on `threads` if given.

        The result has the same bytes with and without threads.

        Raises:
            Refused: an input is missing or has another dtype or shape.
        """
        call = self.prepare(inputs)
        call.run(threads)
        if not np.array_equal(self._arena[self._program.arena_bytes :], _GUARD):
            raise AssertionError(f"{self._program.name} wrote behind its arena")
        return call.outputs

    def prepare(self, inputs: Mapping[str, Array]) -> "PreparedCall":
        """Checks and places the inputs; the call may then be run many times."""
        arrays = [
            np.ascontiguousarray(checked_input(Value(port.name, port.type), inputs))
            for port in self._program.inputs
        ]
        outputs = {
            port.name: np.zeros(port.type.dims, dtype=port.type.dtype.numpy)
            for port in self._program.outputs
        }
        memory = (self._arena, self._weights)
        return PreparedCall(self._function, self._repeat, arrays, outputs, memory, self._hooks)


class PreparedCall:
    """One call with its arguments in place: `run` costs nothing but the model."""

    def __init__(
        self,
        function: "ctypes._FuncPointer",
        repeat: "ctypes._FuncPointer",
        inputs: list[Array],
        outputs: dict[str, Array],
        memory: tuple[NDArray[np.uint8], NDArray[np.uint8]],
        hooks: tuple[int, ...],
    ) -> None:
        self._function = function
        self._repeat = repeat
        self._inputs = inputs
        self.outputs = outputs
        self._in = (ctypes.c_void_p * max(len(inputs), 1))(*[a.ctypes.data for a in inputs])
        self._out = (ctypes.c_void_p * max(len(outputs), 1))(
            *[a.ctypes.data for a in outputs.values()]
        )
        self._arguments = (
            ctypes.addressof(self._in),
            ctypes.addressof(self._out),
            *(part.ctypes.data for part in memory),
        )
        self._hooks = hooks

    def run(self, threads: LentThreads | None = None) -> None:
        """Runs the machine code; the results are in `outputs`."""
        parallel = None if threads is None else threads.address
        self._function(*self._arguments, parallel, *self._hooks)

    def seconds(self, num_runs: int) -> float:
        """Seconds of one run, the mean over a loop of machine code."""
        count = ctypes.c_uint64(num_runs)
        start = time.perf_counter()
        self._repeat(*self._arguments, ctypes.addressof(count))
        return (time.perf_counter() - start) / num_runs
