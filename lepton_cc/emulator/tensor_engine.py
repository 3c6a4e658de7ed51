"""The tensor engine on the control core's bus: firmware in Unicorn drives the emulated engine."""

from lepton_cc.codegen.npu.isa.registers import REGISTER_SPACE_BYTES, Status
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.emulator.devices import Bus
from lepton_cc.npu.emulator import Emulator, bus_of

TENSOR_ENGINE = 0x40000000
_WORD_BYTES = 4
_FOREVER = (1 << 64) - 1


class TensorEngine:
    """A `MappedDevice`: registers at `base`, and a master of the core's bus.

    A run is over when the store of RUN to CTRL returns: the core sees RUNNING only if it is given
    `cycles_per_access`, which then pass at each access of the core to the engine.
    """

    size_bytes = REGISTER_SPACE_BYTES

    def __init__(
        self, machine: Machine, *, base: int = TENSOR_ENGINE, cycles_per_access: int | None = None
    ) -> None:
        self.base = base
        self._machine = machine
        self._cycles_per_access = _FOREVER if cycles_per_access is None else cycles_per_access
        self._emulator: Emulator | None = None

    def connect(self, bus: Bus) -> None:
        """Powers the engine up for a run of the core.

        Raises:
            ToolchainError: the emulator cannot be built on this machine.
            ValueError: the machine is impossible.
        """
        self._emulator = Emulator(self._machine, bus_of(bus))

    @property
    def emulator(self) -> Emulator:
        """The engine of the run that started last."""
        assert self._emulator is not None, "connect() comes first"
        return self._emulator

    @property
    def interrupt(self) -> bool:
        """The level of the interrupt line."""
        return self.emulator.interrupt

    def load(self, offset: int, size_bytes: int) -> int:
        """A load of a register; only whole words exist, anything else reads 0."""
        self._pass_time()
        return self.emulator.load(offset) if size_bytes == _WORD_BYTES else 0

    def store(self, offset: int, size_bytes: int, value: int) -> None:
        """A store to a register; anything but a whole word does nothing."""
        if size_bytes == _WORD_BYTES:
            self.emulator.store(offset, value & 0xFFFFFFFF)
        self._pass_time()

    def _pass_time(self) -> None:
        if self.emulator.advance(0) is Status.RUNNING:
            self.emulator.advance(self._cycles_per_access)
