"""An emulated engine with its own memory, on any bus: registers, time, interrupt line."""

import ctypes
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lepton_cc.codegen.npu.isa.registers import Capability, Status
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.npu import abi

_REFUSED = 1


class SystemBus(Protocol):
    """The system's memory; an access that it refuses raises, and becomes the fault BUS_ERROR."""

    def read(self, address: int, size_bytes: int) -> bytes:
        """Reads memory."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Writes memory."""
        ...


class Emulator:
    """An engine just powered up."""

    def __init__(
        self, machine: Machine, bus: abi.Bus, *, capabilities: Capability | None = None
    ) -> None:
        """Gives it memory.

        Raises:
            ToolchainError: the emulator cannot be built on this machine.
            ValueError: the machine is impossible.
        """
        self.library = abi.emulator_library()
        self.config = abi.config_of(machine, capabilities)
        size = self.library.lpt_emulator_bytes(ctypes.byref(self.config))
        if size == 0:
            raise ValueError(f"no engine can be like {machine}")
        self._bus = bus  # kept alive: it holds the callbacks
        self._memory = np.zeros(size, np.uint8)
        self._handle: int = self.library.lpt_emulator_create(
            self._memory.ctypes.data, size, ctypes.byref(self.config), ctypes.byref(bus)
        )

    def load(self, offset: int) -> int:
        """The register at a byte offset."""
        return int(self.library.lpt_emulator_load(self._handle, offset))

    def store(self, offset: int, value: int) -> None:
        """Writes the register at a byte offset."""
        self.library.lpt_emulator_store(self._handle, offset, value)

    def advance(self, cycles: int) -> Status:
        """Lets so many cycles of a run pass, or what is left of it."""
        return Status(self.library.lpt_emulator_advance(self._handle, cycles))

    def log_to(self, log: abi.Log | None) -> None:
        """Records the packets that retire from now on; None: no more."""
        if log is None:
            self.library.lpt_emulator_set_hooks(self._handle, None)
            return
        hook = ctypes.cast(self.library.lpt_log_retired, ctypes.c_void_p)
        hooks = abi.Hooks(ctypes.addressof(log), hook)
        self.library.lpt_emulator_set_hooks(self._handle, ctypes.byref(hooks))

    @property
    def interrupt(self) -> bool:
        """The level of the interrupt line."""
        return bool(self.library.lpt_emulator_interrupt(self._handle))

    @property
    def scratchpad(self) -> NDArray[np.uint8]:
        """SPM, shared and writable."""
        begin = self.library.lpt_emulator_scratchpad(self._handle)
        return self._inside(begin, self.config.spm_bytes)

    @property
    def weight_buffer(self) -> NDArray[np.uint8]:
        """WBUF, shared and writable."""
        begin = self.library.lpt_emulator_weight_buffer(self._handle)
        return self._inside(begin, self.config.wbuf_bytes)

    def _inside(self, address: int, size_bytes: int) -> NDArray[np.uint8]:
        offset = address - self._memory.ctypes.data
        return self._memory[offset : offset + size_bytes]


def bus_of(system: SystemBus) -> abi.Bus:
    """The bus of a system that lives in Python."""

    def read(_context: int, address: int, target: int, size_bytes: int) -> int:
        try:
            data = system.read(address, size_bytes)
        except Exception:  # whatever the system calls a refusal; C cannot pass it on
            return _REFUSED
        ctypes.memmove(target, data, size_bytes)
        return 0

    def write(_context: int, address: int, source: int, size_bytes: int) -> int:
        try:
            system.write(address, ctypes.string_at(source, size_bytes))
        except Exception:  # as above
            return _REFUSED
        return 0

    return abi.Bus(None, abi.READ(read), abi.WRITE(write))
