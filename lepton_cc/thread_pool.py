"""Threads for generated code that runs in this process: a `lepton_parallel` on Python's threads.

Generated code makes no threads. A kernel that is worth it hands its outer loop to the caller's
`run`, which cuts the range and calls the kernel's task on each part (`lepton.h`); in C that is the
firmware's or the application's pool. Here it is Python's: ctypes releases the interpreter's lock
while machine code runs, so tasks run at the same time. A loop costs some 50 us to hand out.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from lepton_cc.ir.diagnostics import UsageError

# lepton.h: lepton_task, and lepton_parallel with its `run`.
_Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)
_Run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)

Range = tuple[int, int]


class _Parallel(ctypes.Structure):
    _fields_ = (("run", _Run), ("self", ctypes.c_void_p))


def even_ranges(count: int, num_parts: int) -> tuple[Range, ...]:
    """[0, count) as at most `num_parts` ranges whose lengths differ by one at most."""
    bounds = [count * part // num_parts for part in range(num_parts + 1)]
    return tuple(pair for pair in itertools.pairwise(bounds) if pair[0] < pair[1])


class LentThreads(Protocol):
    """Threads that generated code may use."""

    @property
    def address(self) -> int:
        """Address of a `lepton_parallel`."""


class ThreadPool:
    """Threads that run the parallel loops of one model at a time; the caller's is one of them.

    `cut` gives the ranges of a loop; any cut gives the same bytes.
    """

    def __init__(
        self,
        num_threads: int,
        cut: Callable[[int, int], Sequence[Range]] = even_ranges,
    ) -> None:
        if num_threads < 1:
            raise UsageError(f"{num_threads} threads cannot run anything")
        self._num_threads = num_threads
        self._cut = cut
        self._workers = ThreadPoolExecutor(max(1, num_threads - 1), "lepton")
        self._parallel = _Parallel(_Run(self._run), None)

    @property
    def address(self) -> int:
        """Address of the `lepton_parallel`, valid as long as the pool lives."""
        return ctypes.addressof(self._parallel)

    def _run(self, _: int, count: int, task: int, context: int) -> None:
        function = _Task(task)
        mine, *others = self._cut(count, self._num_threads)
        pending = [self._workers.submit(function, context, *part) for part in others]
        function(context, *mine)
        for part in pending:
            part.result()
