"""Runs what a compilation left in a folder: its object in this process, or its image emulated."""

import ctypes
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lepton_cc.artifacts.archive import read_archive
from lepton_cc.artifacts.engine_files import read_engine_report
from lepton_cc.artifacts.manifest import Build, read_build
from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.llvm.repeat import NUM_PARAMETERS, repeat_loop
from lepton_cc.codegen.targets.loader import runs_on_this_machine
from lepton_cc.emulated import EmulatedModel
from lepton_cc.engine_report.machine_figures import machine_of
from lepton_cc.executable import aligned_bytes
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.interpreter import checked_input
from lepton_cc.ir.target import Execution
from lepton_cc.ir.tensor import Array
from lepton_cc.runtime_c.status import status_text
from lepton_cc.thread_pool import LentThreads


class SavedModel:
    """The model in a folder of artifacts, ready to run."""

    def __init__(self, folder: Path) -> None:
        """Reads the folder.

        Raises:
            Refused: the folder is no build, or holds nothing that runs on this machine.
        """
        self.build = read_build(folder)
        self.engine = read_engine_report(self.build)
        self.emulated: EmulatedModel | None = None
        self._native: _NativeObject | None = None
        if self.build.target.execution is Execution.CONTROL_CORE:
            ports = self.build.interface
            elf = _required(self.build, ".elf", "elf")
            self.emulated = EmulatedModel(
                elf,
                ports.inputs,
                ports.outputs,
                None if self.engine is None else machine_of(self.engine.machine),
                0 if self.engine is None else self.engine.num_packets,
            )
        elif runs_on_this_machine(self.build.target):
            self._native = _NativeObject(self.build)
        else:
            raise refuse(
                Code.TARGET_UNSUPPORTED,
                f"code for {self.build.target.name} does not run on this machine",
            )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once.

        Raises:
            Refused: an input is missing or has another dtype or shape, or the run failed.
        """
        if self.emulated is not None:
            return self.emulated.run(inputs)
        return self._object.run(inputs)

    def prepare(self, inputs: Mapping[str, Array]) -> "SavedCall":
        """Checks and places the inputs; the call may then be run and timed many times.

        Raises:
            Refused: an input is missing or has another dtype or shape; the code is emulated.
        """
        if self.emulated is not None:
            raise refuse(
                Code.TARGET_UNSUPPORTED,
                f"{self.build.target.name} is emulated: its time means nothing",
            )
        return self._object.prepare(inputs)

    @property
    def _object(self) -> "_NativeObject":
        assert self._native is not None
        return self._native


class _NativeObject:
    """A native object file, called through its public entry points."""

    def __init__(self, build: Build) -> None:
        self._ports = build.interface
        self.code = LoadedCode.from_object(_object_bytes(build), build.target)
        self.name = build.interface.name
        self.target = build.target
        # The hooks' clock readings: before each layer, and after the last.
        self.ticks = np.zeros(len(build.layers) + 1 if build.profile else 0, np.uint64)
        self.arena = aligned_bytes(max(build.memory.arena_bytes, 1))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the entry point once."""
        call = self.prepare(inputs)
        call.run()
        return call.outputs

    def prepare(self, inputs: Mapping[str, Array]) -> "SavedCall":
        """A call with its arguments in place."""
        arrays = [
            np.ascontiguousarray(checked_input(value, inputs))
            for value in self._ports.input_values()
        ]
        outputs = {
            port.name: np.zeros(port.type.dims, dtype=port.type.dtype.numpy)
            for port in self._ports.outputs
        }
        return SavedCall(self, arrays, outputs)


class SavedCall:
    """One call of a saved model with its arguments in place; the results are in `outputs`."""

    def __init__(
        self, native: _NativeObject, inputs: list[Array], outputs: dict[str, Array]
    ) -> None:
        self._native = native
        self._inputs = inputs
        self.outputs = outputs
        self._in = (ctypes.c_void_p * max(len(inputs), 1))(*[a.ctypes.data for a in inputs])
        self._out = (ctypes.c_void_p * len(outputs))(*[a.ctypes.data for a in outputs.values()])
        self._arguments = (
            ctypes.addressof(self._in),
            ctypes.addressof(self._out),
            native.arena.ctypes.data,
        )

    def run(self, threads: LentThreads | None = None) -> None:
        """Runs the model once.

        Raises:
            Refused: the model returned an error.
        """
        name, code = self._native.name, self._native.code
        if threads is None or not code.address(f"{name}_run_parallel"):
            _check(code.status_function(f"{name}_run", 3)(*self._arguments))
        else:
            parallel = code.status_function(f"{name}_run_parallel", 4)
            _check(parallel(*self._arguments, threads.address))

    @property
    def ticks(self) -> NDArray[np.uint64]:
        """What `run_profiled` reads: u64[layers + 1], nothing in code without hooks."""
        return self._native.ticks

    def run_profiled(self) -> None:
        """Runs the model once and fills `ticks`; only of a build with --profile."""
        function = self._native.code.status_function(f"{self._native.name}_run_profiled", 4)
        _check(function(*self._arguments, self._native.ticks.ctypes.data))

    def seconds(self, num_runs: int) -> float:
        """Seconds of one run, the mean over a loop of machine code."""
        count = ctypes.c_uint64(num_runs)
        loop = self._loop.function("repeat", NUM_PARAMETERS)
        entry = self._native.code.address(f"{self._native.name}_run")
        start = time.perf_counter()
        loop(entry, *self._arguments, ctypes.addressof(count))
        return (time.perf_counter() - start) / num_runs

    @cached_property
    def _loop(self) -> LoadedCode:
        return repeat_loop(self._native.target)


def _check(status: int) -> None:
    if status != 0:
        raise refuse(Code.EMULATION_FAULT, f"the model returned {status_text(status)}")


def _object_bytes(build: Build) -> bytes:
    name = build.interface.name
    if f"{name}.o" in build.files:
        return build.content(f"{name}.o")
    (member,) = read_archive(_required(build, ".a", "lib"))
    return member.content


def _required(build: Build, suffix: str, kind: str) -> bytes:
    name = f"{build.interface.name}{suffix}"
    if name not in build.files:
        raise refuse(
            Code.MODEL_UNREADABLE,
            f"{build.folder} holds no {name}, which running needs",
            hint=f"compile the model again with --emit {kind}",
        )
    return build.content(name)
