"""Native callback that counts the instructions an emulator executes, one call per basic block.

The emulator calls it as a C function when a block starts; being machine code it costs a few
nanoseconds, where a Python hook costs microseconds. Nothing here knows which emulator that is.
"""

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
from llvmlite import binding
from numpy.typing import NDArray

# void count_block(void *emulator, uint64_t address, uint32_t size_bytes, State *state)
# A block [address, address + size_bytes) inside the text adds the number of instructions that
# start in it, read off as a difference of two prefix sums; any other block, and passing the
# limit, stops the emulator. So does a block that starts when the alarm has been reached: it is not
# counted, for the emulator executes it, and calls again, when it is started anew. Fields of the
# state are those of `_State`, in order.
_SOURCE = """
%State = type { i64, i64, i64, i64, i64, i64, ptr, ptr, ptr, i64, i64 }

define void @count_block(ptr %emulator, i64 %address, i32 %size_bytes, ptr %state) {
entry:
  %retired_at = getelementptr %State, ptr %state, i64 0, i32 0
  %last_count_at = getelementptr %State, ptr %state, i64 0, i32 1
  %last_index_at = getelementptr %State, ptr %state, i64 0, i32 2
  %limit_at = getelementptr %State, ptr %state, i64 0, i32 3
  %text_begin_at = getelementptr %State, ptr %state, i64 0, i32 4
  %text_bytes_at = getelementptr %State, ptr %state, i64 0, i32 5
  %starts_before_at = getelementptr %State, ptr %state, i64 0, i32 6
  %histogram_at = getelementptr %State, ptr %state, i64 0, i32 7
  %stop_at = getelementptr %State, ptr %state, i64 0, i32 8
  %alarm_at = getelementptr %State, ptr %state, i64 0, i32 9
  %paused_at = getelementptr %State, ptr %state, i64 0, i32 10
  %text_begin = load i64, ptr %text_begin_at
  %text_bytes = load i64, ptr %text_bytes_at
  %size = zext i32 %size_bytes to i64
  %offset = sub i64 %address, %text_begin
  %end = add i64 %offset, %size
  %starts_inside = icmp ult i64 %offset, %text_bytes
  %ends_inside = icmp ule i64 %end, %text_bytes
  %inside = and i1 %starts_inside, %ends_inside
  br i1 %inside, label %look, label %stop

look:
  %old_retired = load i64, ptr %retired_at
  %alarm = load i64, ptr %alarm_at
  %rings = icmp uge i64 %old_retired, %alarm
  br i1 %rings, label %pause, label %count

pause:
  store i64 1, ptr %paused_at
  br label %stop

count:
  %first = lshr i64 %offset, 1
  %behind = lshr i64 %end, 1
  %starts_before = load ptr, ptr %starts_before_at
  %before_first_at = getelementptr i32, ptr %starts_before, i64 %first
  %before_behind_at = getelementptr i32, ptr %starts_before, i64 %behind
  %before_first = load i32, ptr %before_first_at
  %before_behind = load i32, ptr %before_behind_at
  %in_block = sub i32 %before_behind, %before_first
  %num = zext i32 %in_block to i64
  %retired = add i64 %old_retired, %num
  store i64 %retired, ptr %retired_at
  store i64 %num, ptr %last_count_at
  store i64 %first, ptr %last_index_at
  %histogram = load ptr, ptr %histogram_at
  %bin_at = getelementptr i64, ptr %histogram, i64 %first
  %old_bin = load i64, ptr %bin_at
  %bin = add i64 %old_bin, %num
  store i64 %bin, ptr %bin_at
  %limit = load i64, ptr %limit_at
  %goes_on = icmp ule i64 %retired, %limit
  br i1 %goes_on, label %done, label %stop

stop:
  %stop_function = load ptr, ptr %stop_at
  call i32 %stop_function(ptr %emulator)
  br label %done

done:
  ret void
}
"""


_NEVER = (1 << 64) - 1


class _State(ctypes.Structure):
    _fields_ = (
        ("retired", ctypes.c_uint64),
        ("last_count", ctypes.c_uint64),
        ("last_index", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("text_begin", ctypes.c_uint64),
        ("text_bytes", ctypes.c_uint64),
        ("starts_before", ctypes.c_void_p),
        ("histogram", ctypes.c_void_p),
        ("stop", ctypes.c_void_p),
        ("alarm", ctypes.c_uint64),
        ("paused", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class BlockCount:
    """What was counted so far: all instructions, and by the halfword where their block starts."""

    retired: int
    by_halfword: NDArray[np.uint64]

    def since(self, begin: "BlockCount") -> "BlockCount":
        """Gives what was counted after `begin`."""
        return BlockCount(self.retired - begin.retired, self.by_halfword - begin.by_halfword)


class BlockCounter:
    """Counts executed instructions of one text section with halfword granularity.

    `callback` and `user_data` are addresses to register with the emulator as a block hook of the C
    type `void (*)(void *emulator, uint64_t address, uint32_t size_bytes, void *user_data)`. They
    are valid as long as this object lives.
    """

    def __init__(
        self, text_begin: int, instruction_starts: NDArray[np.bool_], *, limit: int, stop: int
    ) -> None:
        """Prepares the count of a text at `text_begin`.

        `instruction_starts` `[H]` says for each halfword whether an instruction starts there.
        `stop` is the address of an `int (*)(void *emulator)` that is called once more than `limit`
        instructions have been counted, or when a block lies outside the text.
        """
        self._starts_before = np.zeros(len(instruction_starts) + 1, np.uint32)
        np.cumsum(instruction_starts, out=self._starts_before[1:])
        self._histogram = np.zeros(len(instruction_starts) + 1, np.uint64)
        self._state = _State(
            limit=limit,
            text_begin=text_begin,
            text_bytes=2 * len(instruction_starts),
            starts_before=self._starts_before.ctypes.data,
            histogram=self._histogram.ctypes.data,
            stop=stop,
            alarm=_NEVER,
        )
        self._code = _compiled()
        self.callback: int = self._code.get_function_address("count_block")
        self.user_data = ctypes.addressof(self._state)

    @property
    def is_over_limit(self) -> bool:
        """Whether the emulator was stopped for having executed more than the limit."""
        return bool(self._state.retired > self._state.limit)

    @property
    def retired(self) -> int:
        """Instructions up to the end of the block that is being executed."""
        return int(self._state.retired)

    def set_alarm(self, instructions: int | None) -> None:
        """Stops the emulator before the first block that starts so many instructions from now.

        None: it is not stopped.
        """
        self._state.alarm = _NEVER if instructions is None else self.retired + instructions

    def take_pause(self) -> bool:
        """Whether the alarm has stopped the emulator since the last call."""
        paused = bool(self._state.paused)
        self._state.paused = 0
        return paused

    def through_this_block(self) -> BlockCount:
        """Counts everything up to the end of the block that is being executed."""
        return BlockCount(int(self._state.retired), self._histogram.copy())

    def before_this_block(self) -> BlockCount:
        """Counts everything up to the start of the block that is being executed."""
        histogram = self._histogram.copy()
        histogram[self._state.last_index] -= np.uint64(self._state.last_count)
        return BlockCount(int(self._state.retired - self._state.last_count), histogram)


@cache
def _compiled() -> binding.ExecutionEngine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(_SOURCE)
    machine = binding.Target.from_default_triple().create_target_machine(opt=2)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine
