"""Running a linked model in the emulated control core, on NumPy arrays."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lepton_cc.codegen.program import Port
from lepton_cc.emulator import ControlCore, EmulatedRun
from lepton_cc.ir.graph import Value
from lepton_cc.ir.interpreter import checked_input
from lepton_cc.ir.tensor import Array


class EmulatedModel:
    """A firmware image with the types of its ports; `last` is what the last run gave."""

    def __init__(self, elf: bytes, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        with tempfile.NamedTemporaryFile(prefix="lepton-", suffix=".elf") as file:
            file.write(elf)
            file.flush()
            self._core = ControlCore(Path(file.name))
        self.last: EmulatedRun | None = None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once, from reset.

        Raises:
            Refused: an input is missing or has another dtype or shape, or the run faulted.
        """
        given = {
            port.name: checked_input(Value(port.name, port.type), inputs).tobytes()
            for port in self._inputs
        }
        self.last = self._core.run(given)
        return {
            port.name: np.frombuffer(
                self.last.outputs[port.name], dtype=port.type.dtype.numpy
            ).reshape(port.type.dims)
            for port in self._outputs
        }
