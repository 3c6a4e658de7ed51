"""Runs what a compilation left in a folder: its object in this process, or its image emulated."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lepton_cc.artifacts.archive import read_archive
from lepton_cc.artifacts.manifest import Build, read_build
from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.targets.loader import runs_on_this_machine
from lepton_cc.emulated import EmulatedModel
from lepton_cc.executable import aligned_bytes
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.interpreter import checked_input
from lepton_cc.ir.target import Execution
from lepton_cc.ir.tensor import Array
from lepton_cc.runtime_c.status import status_text


class SavedModel:
    """The model in a folder of artifacts, ready to run."""

    def __init__(self, folder: Path) -> None:
        """Reads the folder.

        Raises:
            Refused: the folder is no build, or holds nothing that runs on this machine.
        """
        self.build = read_build(folder)
        self.emulated: EmulatedModel | None = None
        self._native: _NativeObject | None = None
        if self.build.target.execution is Execution.CONTROL_CORE:
            ports = self.build.interface
            elf = _required(self.build, ".elf", "elf")
            self.emulated = EmulatedModel(elf, ports.inputs, ports.outputs)
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
        assert self._native is not None
        return self._native.run(inputs)


class _NativeObject:
    """A native object file, called through its public entry point."""

    def __init__(self, build: Build) -> None:
        self._ports = build.interface
        self._code = LoadedCode.from_object(_object_bytes(build), build.target)
        self._run = self._code.status_function(f"{build.interface.name}_run", 3)
        self._arena = aligned_bytes(max(build.memory.arena_bytes, 1))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the entry point once."""
        arrays = [
            np.ascontiguousarray(checked_input(value, inputs))
            for value in self._ports.input_values()
        ]
        outputs = {
            port.name: np.zeros(port.type.dims, dtype=port.type.dtype.numpy)
            for port in self._ports.outputs
        }
        given = (ctypes.c_void_p * max(len(arrays), 1))(*[a.ctypes.data for a in arrays])
        results = (ctypes.c_void_p * len(outputs))(*[a.ctypes.data for a in outputs.values()])
        status = self._run(
            ctypes.addressof(given), ctypes.addressof(results), self._arena.ctypes.data
        )
        if status != 0:
            raise refuse(Code.EMULATION_FAULT, f"the model returned {status_text(status)}")
        return outputs


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
