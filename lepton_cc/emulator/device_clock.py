"""Time and interrupts of the emulated core: devices work while it executes or sleeps.

Unicorn has no interrupt controller. The core is paused between two blocks, by the alarm of the
block counter or by WFI, and there moved to its trap entry as hardware would.
"""

from collections.abc import Sequence

import unicorn
from unicorn import riscv_const as registers

from lepton_cc.codegen.llvm.block_counter import BlockCounter
from lepton_cc.emulator.devices import ClockedDevice

# How late the core may see what a device did by itself, in instructions.
_SLICE = 1024
_SLEEP_CYCLES = 1 << 20

# RISC-V Instruction Set Manual, volume II: machine-level CSRs.
_EXTERNAL = 11
_INTERRUPT = 1 << 31
_MIE = 1 << 3
_MPIE = 1 << 7
_MPP = 3 << 11


class DeviceClock:
    """Keeps the time of clocked devices with the instructions that the core has executed."""

    def __init__(
        self, core: unicorn.Uc, counter: BlockCounter, devices: Sequence[ClockedDevice]
    ) -> None:
        self._core = core
        self._counter = counter
        self._devices = tuple(devices)
        self._time = 0

    def synchronize(self) -> None:
        """Lets the devices work for as long as the core has executed since the last call."""
        elapsed = self._counter.retired - self._time
        self._time += elapsed
        for device in self._devices:
            device.advance(elapsed)

    def set_alarm(self) -> None:
        """Has the core paused when something may have happened that it did not do itself."""
        if self._line():
            # After one block: it may be the one that enables interrupts, the next disable them.
            self._counter.set_alarm(0 if self._is_enabled() else 1)
        elif any(device.is_busy for device in self._devices):
            self._counter.set_alarm(_SLICE)
        else:
            self._counter.set_alarm(None)

    def sleep(self) -> bool:
        """Lets time pass until an interrupt wakes the core from WFI; False: nothing ever will."""
        self.synchronize()
        if not self._read(registers.UC_RISCV_REG_MIE) >> _EXTERNAL & 1:
            return False
        while not self._line():
            busy = [device for device in self._devices if device.is_busy]
            if not busy:
                return False
            for device in busy:
                device.advance(_SLEEP_CYCLES)
        return True

    def deliver(self) -> None:
        """Enters the trap handler if an interrupt is raised and enabled."""
        if self._line() and self._is_enabled():
            status = self._read(registers.UC_RISCV_REG_MSTATUS)
            write = self._core.reg_write
            write(registers.UC_RISCV_REG_MEPC, self._read(registers.UC_RISCV_REG_PC))
            write(registers.UC_RISCV_REG_MCAUSE, _INTERRUPT | _EXTERNAL)
            write(registers.UC_RISCV_REG_MSTATUS, status & ~_MIE | _MPIE | _MPP)
            write(registers.UC_RISCV_REG_PC, self._read(registers.UC_RISCV_REG_MTVEC) & ~3)
        self.set_alarm()

    def _line(self) -> bool:
        return any(device.interrupt for device in self._devices)

    def _is_enabled(self) -> bool:
        enabled = self._read(registers.UC_RISCV_REG_MIE) >> _EXTERNAL & 1
        return bool(enabled and self._read(registers.UC_RISCV_REG_MSTATUS) & _MIE)

    def _read(self, register: int) -> int:
        return int(self._core.reg_read(register))
