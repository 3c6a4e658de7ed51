"""The tensor engine on the control core's bus: firmware in Unicorn drives the emulated engine."""

from lepton_cc.codegen.npu.isa.registers import REGISTER_SPACE_BYTES, Status
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.emulator.devices import BOARD_NPU, Bus
from lepton_cc.npu.emulator import Emulator, bus_of
from lepton_cc.npu.packet_log import PacketLog

_WORD_BYTES = 4
_FOREVER = (1 << 64) - 1


class TensorEngine:
    """A `ClockedDevice`: registers at `base`, and a master of the core's bus.

    It works while the core executes, a cycle for an instruction, and while the core sleeps.
    `cycles_per_access` more pass at each access of the core to the engine; None: what is left of a
    run, which then is over when the store of RUN to CTRL returns. `log` records the packets of all
    streams that the core starts in a run of its own.
    """

    size_bytes = REGISTER_SPACE_BYTES

    def __init__(
        self,
        machine: Machine,
        *,
        base: int = BOARD_NPU,
        cycles_per_access: int | None = 0,
        log: PacketLog | None = None,
    ) -> None:
        self.base = base
        self._machine = machine
        self._cycles_per_access = _FOREVER if cycles_per_access is None else cycles_per_access
        self._log = log
        self._emulator: Emulator | None = None

    def connect(self, bus: Bus) -> None:
        """Powers the engine up for a run of the core.

        Raises:
            ToolchainError: the emulator cannot be built on this machine.
            ValueError: the machine is impossible.
        """
        self._emulator = Emulator(self._machine, bus_of(bus))
        if self._log is not None:
            self._log.clear()
            self._emulator.log_to(self._log.log)

    @property
    def emulator(self) -> Emulator:
        """The engine of the run that started last."""
        assert self._emulator is not None, "connect() comes first"
        return self._emulator

    @property
    def interrupt(self) -> bool:
        """The level of the interrupt line."""
        return self.emulator.interrupt

    @property
    def is_busy(self) -> bool:
        """Whether a run goes on."""
        return self.emulator.advance(0) is Status.RUNNING

    def advance(self, cycles: int) -> None:
        """Lets so many cycles of a run pass."""
        if self.is_busy:
            self.emulator.advance(cycles)

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
        self.advance(self._cycles_per_access)
