"""Devices on the emulated control core's bus: their protocol, and the board's test device."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

# Registers and marks of runtime_c/boards/control_core/board.h; a test holds them equal.
BOARD_DEVICE = 0x10000000
BOARD_NPU = 0x40000000
BOARD_CONSOLE = 0x00
BOARD_EXIT = 0x04
BOARD_MARK = 0x08
BOARD_MEPC = 0x0C
BOARD_MTVAL = 0x10
BOARD_FAULT = 0x14
BOARD_UNHANDLED_INTERRUPT = 0x8000000B
BOARD_BEGIN = 1
BOARD_END = 2
BOARD_STACK_PAINT = 0xA5C3F00D


class Bus(Protocol):
    """The core's memory as a bus master sees it."""

    def read(self, address: int, size_bytes: int) -> bytes:
        """Reads memory."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Writes memory."""
        ...


class MappedDevice(Protocol):
    """A device with registers at `base`; both multiples of 4 KiB, as the emulator maps pages."""

    @property
    def base(self) -> int:
        """Address of its first register."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of address space that it takes."""
        ...

    def connect(self, bus: Bus) -> None:
        """Resets the device and gives it the memory of the run that starts now."""
        ...

    def load(self, offset: int, size_bytes: int) -> int:
        """Answers a load of the core from `base + offset`."""
        ...

    def store(self, offset: int, size_bytes: int, value: int) -> None:
        """Takes a store of the core to `base + offset`."""
        ...


@runtime_checkable
class ClockedDevice(MappedDevice, Protocol):
    """A device that works by itself while the core executes, and can interrupt it.

    All such devices share the core's one line, the machine external interrupt.
    """

    @property
    def is_busy(self) -> bool:
        """Whether its state can change without an access of the core."""
        ...

    @property
    def interrupt(self) -> bool:
        """Whether it raises its interrupt line now."""
        ...

    def advance(self, cycles: int) -> None:
        """Lets time pass; the core takes a cycle for an instruction."""
        ...


class BoardDevice:
    """Console, exit, trap report and marks; each store that ends the run calls `stop`."""

    base = BOARD_DEVICE
    size_bytes = 0x1000

    def __init__(
        self,
        *,
        stop: Callable[[], None],
        begin: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        self.console = bytearray()
        self.exit_status: int | None = None
        self.mcause: int | None = None
        self.mepc = 0
        self.mtval = 0
        self._stop = stop
        self._marks = {BOARD_BEGIN: begin, BOARD_END: end}

    def connect(self, bus: Bus) -> None:
        """Needs no memory: it is made anew for each run."""

    def load(self, offset: int, size_bytes: int) -> int:
        """Reads as zero: all registers are write-only."""
        return 0

    def store(self, offset: int, size_bytes: int, value: int) -> None:
        """Does what the register at `offset` stands for; other offsets do nothing."""
        if offset == BOARD_CONSOLE:
            self.console.append(value & 0xFF)
        elif offset == BOARD_EXIT:
            self.exit_status = value - (1 << 32) if value >> 31 else value
            self._stop()
        elif offset == BOARD_MARK:
            self._marks[value]()
        elif offset == BOARD_MEPC:
            self.mepc = value
        elif offset == BOARD_MTVAL:
            self.mtval = value
        elif offset == BOARD_FAULT:
            self.mcause = value
            self._stop()
