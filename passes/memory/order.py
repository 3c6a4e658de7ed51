"""The order of steps with the lowest peak of live bytes.

Runs before live ranges exist. Best-first search over the sets of steps that have run (the dynamic
program of Ahn et al. 2020, arXiv 2003.02369) while its work is small; beam search beyond that.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from lepton_cc.passes.memory.order_load import Load, LoadModel, load_model
from lepton_cc.passes.memory.step_graph import StepGraph, peak_bytes

EXACT_WORK = 40_000
"""Loads computed before exact search gives up: about 0.15 s of a desktop core."""
BEAM_WORK = 60_000
"""Loads computed by beam search: what it takes sets the width of the beam."""
MAX_BEAM_WIDTH = 32


class _State(NamedTuple):
    """Masks of the steps that have run and that may run next; compared field by field."""

    peak: int
    num_left: int
    live_bytes: int
    done: int
    ready: int


def order_for_lowest_peak(graph: StepGraph) -> tuple[int, ...]:
    """Give a topological order of the steps with a low peak of live bytes.

    It is the lowest when the search ends within its bounded work, and never higher than that of the
    order given by the graph itself. The same graph gives the same order everywhere.
    """
    given = tuple(range(len(graph.steps)))
    if len(given) < 2:
        return given
    model = load_model(graph)
    given_peak = peak_bytes(graph, given)
    found = _exact(model, given_peak)
    if found is None:
        return given
    if not found:
        found = _beam(model)
    return found if peak_bytes(graph, found) < given_peak else given


def _exact(model: LoadModel, known_peak: int) -> tuple[int, ...] | None:
    """Search states from the lowest peak up; the first that has run everything is optimal.

    Gives None when nothing is below `known_peak`, and an empty order when the work is used up.
    """
    start = _start(model)
    heap = [start]
    came_from: dict[int, tuple[int, int]] = {}
    lowest = {start.done: start.peak}
    work = 0
    while heap and work <= EXACT_WORK:
        state = heappop(heap)
        if state.done == model.all_steps:
            return _path(came_from, state.done)
        if state.peak > lowest[state.done]:
            continue
        steps = _members(state.ready)
        work += len(steps)
        for step, after in _expand(model, state, steps):
            if after.peak < min(known_peak, lowest.get(after.done, known_peak)):
                lowest[after.done] = after.peak
                came_from[after.done] = (state.done, step)
                heappush(heap, after)
    return () if heap else None


def _beam(model: LoadModel) -> tuple[int, ...]:
    """Keep the best few states of each length; how many follows from the work allowed."""
    num_steps = len(model.before)
    beam: list[tuple[_State, tuple[int, ...]]] = [(_start(model), ())]
    for _ in range(num_steps):
        allowed = max(1, BEAM_WORK // num_steps)
        grown: dict[int, tuple[_State, tuple[int, ...]]] = {}
        for state, path in beam:
            if allowed <= 0:
                break
            steps = _members(state.ready)[:allowed]
            allowed -= len(steps)
            for step, after in _expand(model, state, steps):
                if after.done not in grown or after < grown[after.done][0]:
                    grown[after.done] = (after, (*path, step))
        beam = sorted(grown.values(), key=lambda pair: pair[0])[:MAX_BEAM_WIDTH]
    return beam[0][1]


def _start(model: LoadModel) -> _State:
    """Nothing has run. No order's peak is below what its hungriest step needs on its own."""
    ready = sum(1 << index for index, before in enumerate(model.before) if not before)
    peak = max(model.start_bytes, *map(model.own_bytes, range(len(model.before))))
    return _State(peak, len(model.before), model.start_bytes, 0, ready)


def _expand(model: LoadModel, state: _State, steps: Sequence[int]) -> list[tuple[int, _State]]:
    """Run each of `steps` on its own; only one of them when that cannot be a mistake.

    A step that neither lifts the peak nor leaves more bytes live than before may run at once: an
    order that runs it later stays as low when it is moved here. Views break that argument.
    """
    children = []
    for step in steps:
        load = model.load(state.done, state.live_bytes, step)
        is_safe = load.during <= state.peak and load.after <= state.live_bytes
        if is_safe and not model.grouped[step]:
            return [(step, _after(model, state, step, load))]
        children.append((step, load))
    return [(step, _after(model, state, step, load)) for step, load in children]


def _after(model: LoadModel, state: _State, step: int, load: Load) -> _State:
    done = state.done | 1 << step
    opened = sum(1 << n for n in model.followers[step] if not model.before[n] & ~done)
    ready = state.ready & ~(1 << step) | opened
    peak = max(state.peak, load.during)
    return _State(peak, state.num_left - 1, load.after, done, ready)


def _members(mask: int) -> list[int]:
    """List the bits that are set, ascending."""
    return [index for index, bit in enumerate(reversed(f"{mask:b}")) if bit == "1"]


def _path(came_from: dict[int, tuple[int, int]], done: int) -> tuple[int, ...]:
    steps = []
    while done:
        done, step = came_from[done]
        steps.append(step)
    return tuple(reversed(steps))
