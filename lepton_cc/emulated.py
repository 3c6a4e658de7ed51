"""Running a linked model in the emulated control core, on NumPy arrays."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.program import Port
from lepton_cc.emulator import ControlCore, EmulatedRun
from lepton_cc.emulator.tensor_engine import TensorEngine
from lepton_cc.ir.graph import Value
from lepton_cc.ir.interpreter import checked_input
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.packet_log import PacketLog
from lepton_cc.npu.results import RetiredPacket


class EmulatedModel:
    """A firmware image with the types of its ports; `last` is what the last run gave.

    `machine`: the tensor engine on the core's bus, if there is one; `num_packets` of each run are
    recorded.
    """

    def __init__(
        self,
        elf: bytes,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        machine: Machine | None = None,
        num_packets: int = 0,
    ) -> None:
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._log = PacketLog(num_packets)
        with tempfile.NamedTemporaryFile(prefix="lepton-", suffix=".elf") as file:
            file.write(elf)
            file.flush()
            self._core = ControlCore(Path(file.name), devices=self._devices(machine))
        self.last: EmulatedRun | None = None

    def _devices(self, machine: Machine | None) -> tuple[TensorEngine, ...]:
        return () if machine is None else (TensorEngine(machine, log=self._log),)

    @property
    def packets(self) -> tuple[RetiredPacket, ...]:
        """What the engine retired in the last run, all its streams one after the other."""
        return self._log.packets

    @property
    def engine_cycles(self) -> int:
        """What the engine took in the last run, from RUN to END of each stream."""
        return sum(packet.begin for packet in self.packets if packet.opcode is Opcode.END)

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
