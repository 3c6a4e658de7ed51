"""Threads that spin, lent to a model while it is measured: handing out a loop costs nearly nothing.

Parallel code is measured as an application with a good pool would run it, not with Python's.
"""

import ctypes
import threading
from types import TracebackType
from typing import Self

from lepton_cc.codegen.llvm.spinning_threads import SpinState, spinning_threads
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.target import Target


class _Parallel(ctypes.Structure):
    """lepton.h: lepton_parallel."""

    _fields_ = (("run", ctypes.c_void_p), ("self", ctypes.c_void_p))


class SpinPool:
    """A `lepton_parallel` of `num_threads`, the caller's among them, within `with` blocks."""

    def __init__(self, num_threads: int, target: Target) -> None:
        if num_threads < 1:
            raise UsageError(f"{num_threads} threads cannot run anything")
        self._code = spinning_threads(target)
        self._state = SpinState(num_threads=num_threads)
        state = ctypes.addressof(self._state)
        self._parallel = _Parallel(self._code.address("spin_run"), state)
        self._work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(
            self._code.address("spin_work")
        )
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> int:
        """Address of the `lepton_parallel`."""
        return ctypes.addressof(self._parallel)

    def __enter__(self) -> Self:
        state = self._state
        state.generation = state.stop = 0
        # ctypes lets go of the interpreter's lock while they spin.
        self._threads = [
            threading.Thread(target=self._work, args=(ctypes.addressof(state), index), daemon=True)
            for index in range(1, state.num_threads)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._state.stop = 1
        self._state.generation += 1
        for thread in self._threads:
            thread.join()
