"""One run of an image from reset to exit in Unicorn: memory, devices, counting, faults."""

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import unicorn
from unicorn import riscv_const as registers
from unicorn.unicorn_py3.unicorn import uclib

from lepton_cc.codegen.llvm.block_counter import BlockCount, BlockCounter
from lepton_cc.emulator.device_clock import DeviceClock
from lepton_cc.emulator.devices import (
    BOARD_STACK_PAINT,
    BOARD_UNHANDLED_INTERRUPT,
    BoardDevice,
    ClockedDevice,
    MappedDevice,
)
from lepton_cc.emulator.image import Image
from lepton_cc.ir.diagnostics import Code, Refused, refuse
from lepton_cc.runtime_c.status import status_text

_PAGE_BYTES = 0x1000
GARBAGE = 0xA5  # memory after power-up: nothing may rely on zeros
_U_MODE_CALL = 8
_M_MODE_CALL = 11
_WAIT_FOR_INTERRUPT = (0x10500073).to_bytes(4, "little")

# RISC-V Instruction Set Manual, volume II, table "Machine cause register values after trap".
_TRAPS: Mapping[int, str] = {
    0: "misaligned instruction address",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "misaligned load",
    5: "load access fault",
    6: "misaligned store",
    7: "store access fault",
    _M_MODE_CALL: "environment call",
    BOARD_UNHANDLED_INTERRUPT: "interrupt without a handler",
}

_ACCESSES: Mapping[int, str] = {
    unicorn.UC_MEM_READ_UNMAPPED: "read of",
    unicorn.UC_MEM_WRITE_UNMAPPED: "write to",
    unicorn.UC_MEM_FETCH_UNMAPPED: "jump to",
    unicorn.UC_MEM_READ_PROT: "read of protected",
    unicorn.UC_MEM_WRITE_PROT: "write to read-only",
    unicorn.UC_MEM_FETCH_PROT: "jump to non-executable",
}


@dataclass(frozen=True, slots=True)
class _Access:
    kind: int
    address: int
    size_bytes: int


class Session:
    """A core just out of reset; `execute` runs it once, then the results can be read."""

    def __init__(
        self, image: Image, devices: Sequence[MappedDevice], *, instruction_limit: int
    ) -> None:
        self._image = image
        self._limit = instruction_limit
        self._core = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        self._bad_access: _Access | None = None
        self._begin: BlockCount | None = None
        self._begin_stack_pointer = 0
        self._measured: BlockCount | None = None
        self._counter = self._attach_counter()
        self._board = BoardDevice(
            stop=self._core.emu_stop, begin=self._mark_begin, end=self._mark_end
        )
        self._map_memory()
        for device in (self._board, *devices):
            device.connect(self)
        self._clock = DeviceClock(
            self._core, self._counter, [d for d in devices if isinstance(d, ClockedDevice)]
        )
        for device in (self._board, *devices):
            self._map_device(device)
        self._core.hook_add(unicorn.UC_HOOK_INTR, self._enter_trap)
        self._core.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._note_bad_access)
        self.seconds = 0.0

    def read(self, address: int, size_bytes: int) -> bytes:
        """Reads the core's memory."""
        return bytes(self._core.mem_read(address, size_bytes))

    def write(self, address: int, data: bytes) -> None:
        """Writes the core's memory."""
        self._core.mem_write(address, data)

    @property
    def console(self) -> str:
        """What the firmware printed."""
        return self._board.console.decode("utf-8", "replace")

    @property
    def measured(self) -> BlockCount:
        """The count between the marks, without the instructions of the marks themselves."""
        if self._measured is None:
            raise self.fault("the firmware ended without the marks of a measured run")
        return self._measured

    def stack_high_water_bytes(self) -> int:
        """Measures the stack below the caller's that the marked run has touched."""
        stack = self._image.stack
        words = np.frombuffer(self.read(stack.begin, stack.size_bytes // 4 * 4), "<u4")
        touched = np.flatnonzero(words != BOARD_STACK_PAINT)
        lowest = stack.begin + 4 * int(touched[0]) if len(touched) else self._begin_stack_pointer
        return max(0, self._begin_stack_pointer - lowest)

    def execute(self) -> None:
        """Runs from reset until the firmware exits.

        Raises:
            Refused: the core trapped, left its memory, passed the instruction limit, or the
                model returned an error.
        """
        started = time.perf_counter()
        self._clock.set_alarm()
        try:
            self._core.emu_start(self._image.entry, self._image.flash.end)
            while self._goes_on():
                self._clock.deliver()
                self._core.emu_start(
                    self._core.reg_read(registers.UC_RISCV_REG_PC), self._image.flash.end
                )
        except unicorn.UcError as error:
            raise self._describe_stop(error) from error
        finally:
            self.seconds = time.perf_counter() - started
        if self._board.mcause is not None:
            raise self.fault(
                f"{_TRAPS.get(self._board.mcause, f'trap {self._board.mcause}')} at "
                f"{self._image.describe(self._board.mepc)}"
            )
        if self._counter.is_over_limit:
            raise self.fault(
                f"still running after {self._limit} instructions, at {self._place()}",
                hint="raise the instruction limit if the model is that large",
            )
        if self._board.exit_status is None and self._is_asleep():
            raise self.fault(f"waits for an interrupt that will not come, at {self._place()}")
        if self._board.exit_status is None:
            raise self.fault(f"the core stopped without an exit, at {self._place()}")
        if self._board.exit_status != 0:
            raise self.fault(f"the model returned {status_text(self._board.exit_status)}")

    def _goes_on(self) -> bool:
        """Whether the core was only paused; lets the devices' time pass."""
        if self._counter.take_pause():
            self._clock.synchronize()
            return True
        ended = self._board.exit_status is not None or self._board.mcause is not None
        if ended or self._counter.is_over_limit:
            return False
        return self._is_asleep() and self._clock.sleep()

    def _is_asleep(self) -> bool:
        behind = self._core.reg_read(registers.UC_RISCV_REG_PC)
        begin = behind - len(_WAIT_FOR_INTERRUPT)
        return (
            begin in self._image.flash
            and self.read(begin, len(_WAIT_FOR_INTERRUPT)) == _WAIT_FOR_INTERRUPT
        )

    def _attach_counter(self) -> BlockCounter:
        counter = BlockCounter(
            self._image.text.address,
            self._image.instruction_starts,
            limit=self._limit,
            stop=_address_of_stop(),
        )
        # Past the Python binding, which would wrap the callback into a Python function.
        handle = ctypes.c_size_t()
        error = uclib.uc_hook_add(
            self._core._uch,  # the engine's handle, which the binding keeps to itself
            ctypes.byref(handle),
            unicorn.UC_HOOK_BLOCK,
            ctypes.c_void_p(counter.callback),
            ctypes.c_void_p(counter.user_data),
            1,
            0,
        )
        if error != unicorn.UC_ERR_OK:
            raise unicorn.UcError(error)
        return counter

    def _map_memory(self) -> None:
        image = self._image
        execute = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        self._core.mem_map(image.flash.begin, _whole_pages(image.flash.size_bytes), execute)
        sram_bytes = _whole_pages(image.sram.size_bytes)
        self._core.mem_map(
            image.sram.begin, sram_bytes, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        )
        self.write(image.sram.begin, bytes([GARBAGE]) * sram_bytes)
        for segment in image.segments:
            self.write(segment.address, segment.data)

    def _map_device(self, device: MappedDevice) -> None:
        clock = self._clock if isinstance(device, ClockedDevice) else None

        def load(_core: unicorn.Uc, offset: int, size_bytes: int, _data: object) -> int:
            if clock is None:
                return device.load(offset, size_bytes)
            clock.synchronize()
            value = device.load(offset, size_bytes)
            clock.set_alarm()
            return value

        def store(
            _core: unicorn.Uc, offset: int, size_bytes: int, value: int, _data: object
        ) -> None:
            if clock is None:
                device.store(offset, size_bytes, value)
                return
            clock.synchronize()
            device.store(offset, size_bytes, value)
            clock.set_alarm()

        self._core.mmio_map(device.base, device.size_bytes, load, None, store, None)

    def _mark_begin(self) -> None:
        self._begin = self._counter.through_this_block()
        self._begin_stack_pointer = self._core.reg_read(registers.UC_RISCV_REG_SP)

    def _mark_end(self) -> None:
        if self._begin is not None:
            self._measured = self._counter.before_this_block().since(self._begin)

    def _enter_trap(self, core: unicorn.Uc, cause: int, _data: object) -> None:
        # Unicorn stops where hardware would trap, having moved the pc on by 4 bytes.
        core.reg_write(registers.UC_RISCV_REG_MEPC, core.reg_read(registers.UC_RISCV_REG_PC) - 4)
        core.reg_write(
            registers.UC_RISCV_REG_MCAUSE, _M_MODE_CALL if cause == _U_MODE_CALL else cause
        )
        core.reg_write(registers.UC_RISCV_REG_PC, core.reg_read(registers.UC_RISCV_REG_MTVEC))

    def _note_bad_access(
        self,
        _core: unicorn.Uc,
        kind: int,
        address: int,
        size_bytes: int,
        _value: int,
        _data: object,
    ) -> bool:
        self._bad_access = _Access(kind, address & 0xFFFFFFFF, size_bytes)
        return False

    def _place(self) -> str:
        return self._image.describe(self._core.reg_read(registers.UC_RISCV_REG_PC))

    def _describe_stop(self, error: unicorn.UcError) -> Refused:
        access = self._bad_access
        if access is None:
            return self.fault(f"{error} at {self._place()}")
        what = f"{_ACCESSES.get(access.kind, 'access to')} memory at {access.address:#010x}"
        if access.kind in {unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT}:
            caller = self._core.reg_read(registers.UC_RISCV_REG_RA)
            return self.fault(f"{what}, return address {self._image.describe(caller)}")
        below_stack = self._image.stack.begin - access.address
        if 0 < below_stack <= self._image.stack.size_bytes:
            return self.fault(
                f"the stack of {self._image.stack.size_bytes} bytes overflowed at {self._place()}",
                hint="give it more bytes",
            )
        return self.fault(f"{what} ({access.size_bytes} bytes) at {self._place()}")

    def fault(self, message: str, hint: str = "") -> Refused:
        """Builds the error for what went wrong in this run, with what the firmware printed."""
        printed = f"; it printed: {self.console.strip()}" if self.console.strip() else ""
        return refuse(Code.EMULATION_FAULT, f"control core: {message}{printed}", hint=hint)


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES


def _address_of_stop() -> int:
    address = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
    assert address is not None
    return address
