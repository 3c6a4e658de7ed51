"""Worst-case stack of the public functions, from the assembly listing of the whole module.

Every path through every function is followed, so the figure is exact for generated code, up to the
slack of realigned frames, which depends on the caller's pointer. Functions of the compiler's
run-time library (soft float, 64-bit division) count with a bound of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lepton_cc.artifacts.stack.builtins import builtin_stack_bytes
from lepton_cc.artifacts.stack.listing import Function, read_functions
from lepton_cc.artifacts.stack.machine import Effect, StackMachine, State
from lepton_cc.artifacts.stack.riscv import RiscvStack
from lepton_cc.artifacts.stack.x86 import X86Stack
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.target import Target

_TASK = "_task"
_ENTRIES = ("run", "run_parallel", "run_profiled", "start", "poll", "finish")


@dataclass(frozen=True, slots=True)
class StackUsage:
    """Bytes below the caller's stack pointer, the return address included.

    `run_bytes`: of each entry point, in NAME_run_parallel without what the caller's own `run`
    callback takes. `task_bytes`: of a task that this callback runs, 0 without parallel
    kernels. `builtins`: the run-time library's functions that the code calls.
    """

    run_bytes: int
    task_bytes: int
    builtins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """One function alone: the deepest byte that it touches, and its calls with their depths."""

    own_bytes: int
    calls: tuple[tuple[int, str], ...]


def stack_usage(assembly: str, name: str, target: Target) -> StackUsage:
    """The stack that the model `name` needs.

    Raises:
        InternalError: the listing holds what the analysis does not understand, or a recursion.
    """
    machine: StackMachine = RiscvStack() if target.triple.startswith("riscv") else X86Stack()
    frames = {f.name: _frame(f, machine) for f in read_functions(assembly)}
    totals = _Totals(frames)
    entries = [entry for suffix in _ENTRIES if (entry := f"{name}_{suffix}") in frames]
    if not entries:
        raise InternalError(f"stack analysis: the listing defines no {name}_run")
    pushed = machine.return_address_bytes
    tasks = [function for function in frames if function.endswith(_TASK)]
    called = {callee for frame in frames.values() for _, callee in frame.calls if callee}
    return StackUsage(
        max(totals.of(entry) for entry in entries) + pushed,
        max((totals.of(task) + pushed for task in tasks), default=0),
        tuple(sorted(called - frames.keys())),
    )


class _Totals:
    """Stack of a function with all that it calls."""

    def __init__(self, frames: Mapping[str, _Frame]) -> None:
        self._frames = frames
        self._known: dict[str, int] = {}
        self._active: set[str] = set()

    def of(self, name: str) -> int:
        """Bytes below the function's entry."""
        if not name:
            return 0
        if name not in self._frames:
            return builtin_stack_bytes(name)
        if name in self._active:
            raise InternalError(f"stack analysis: {name} calls itself")
        if name not in self._known:
            self._active.add(name)
            frame = self._frames[name]
            below = [depth + self.of(callee) for depth, callee in frame.calls]
            self._known[name] = max([frame.own_bytes, *below])
            self._active.remove(name)
        return self._known[name]


def _frame(function: Function, machine: StackMachine) -> _Frame:
    states: dict[int, State] = {}
    pending = [(0, State())]
    deepest = 0
    calls: set[tuple[int, str]] = set()
    at_label = frozenset(function.labels.values())
    while pending:
        position, state = pending.pop()
        if position >= len(function.instructions):
            continue
        if position in at_label:
            state = replace(state, constants=())
        merged = _merged(function, states.get(position), state)
        if merged is None:
            continue
        states[position] = merged
        effect = machine.step(merged, function.instructions[position])
        deepest = max(deepest, effect.touched)
        if effect.calls is not None:
            pushed = 0 if effect.is_tail else machine.return_address_bytes
            calls.add((effect.state.depth + pushed, effect.calls))
            deepest = max(deepest, effect.state.depth + pushed)
        pending += [(next_, effect.state) for next_ in _successors(function, position, effect)]
    return _Frame(deepest, tuple(sorted(calls)))


def _merged(function: Function, known: State | None, state: State) -> State | None:
    """The state at a place that is reached again; None if nothing new is known."""
    if known is None:
        return state
    if known.depth != state.depth:
        raise InternalError(f"stack analysis: {function.name} joins with two depths")
    if known.frame is None or known.frame == state.frame:
        return None
    return replace(known, frame=None)


def _successors(function: Function, position: int, effect: Effect) -> list[int]:
    if effect.anywhere:
        return sorted(set(function.labels.values()))
    following = [position + 1] if effect.goes_on else []
    return following + [function.labels[target] for target in effect.targets]
