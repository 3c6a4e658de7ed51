"""Step graphs: steps with the buffers that each reads and writes, before their order is fixed.

Between a list of operations and the memory problem: an order gives the buffers their live ranges.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.passes.memory.block import blocks_of
from lepton_cc.passes.memory.bound import peak_load
from lepton_cc.passes.memory.clearance import permissions_of
from lepton_cc.passes.memory.problem import Buffer, InPlace, MemoryProblem, Overlap, View


@dataclass(frozen=True, slots=True)
class Storage:
    """What is known of a buffer before it has a live range.

    `is_input`: it holds a value before the first step. `is_output`: its value must last beyond the
    last step.
    """

    name: str
    size_bytes: int
    alignment: int = 16
    is_input: bool = False
    is_output: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of work: it reads buffers and writes others, all of them live at the same time.

    What makes a view (a reshape, a concatenation of parts) is a step too, also if it does no work.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepGraph:
    """Steps in an order that is known to work, and the relations of their buffers.

    `InPlace.step` is an index into `steps`.

    Raises:
        ValueError: a buffer is unknown, never written, written twice, written though it is an
            input, or read before it is written.
    """

    steps: tuple[Step, ...]
    storages: tuple[Storage, ...]
    views: tuple[View, ...] = ()
    in_place: tuple[InPlace, ...] = ()
    overlaps: tuple[Overlap, ...] = ()

    def __post_init__(self) -> None:
        faults = _faults(self.steps, self.storages)
        if faults:
            raise ValueError("step graph: " + "; ".join(faults))
        if any(not 0 <= grant.step < len(self.steps) for grant in self.in_place):
            raise ValueError("step graph: an in-place permission names a step that is not there")


def predecessors(graph: StepGraph) -> tuple[tuple[int, ...], ...]:
    """Give for each step the steps that write what it reads, ascending."""
    writers = {name: index for index, step in enumerate(graph.steps) for name in step.writes}
    return tuple(
        tuple(sorted({writers[name] for name in step.reads if name in writers}))
        for step in graph.steps
    )


def memory_problem(graph: StepGraph, order: Sequence[int]) -> MemoryProblem:
    """Give every buffer the live range that it has when the steps run in `order`.

    A buffer lives from the step that writes it (an input: from the first) to the last that reads
    it. An output lives one step longer than the last, so that no step may overwrite it. Steps are
    renumbered by their position in `order`.

    Raises:
        ValueError: `order` is not a permutation of the steps, or runs one before what it needs.
    """
    position = _positions(graph, order)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, step in enumerate(graph.steps):
        for name in step.writes:
            first[name] = position[index]
        for name in (*step.reads, *step.writes):
            last[name] = max(last.get(name, 0), position[index])
    buffers = tuple(
        Buffer(
            name=storage.name,
            size_bytes=storage.size_bytes,
            first_step=first.get(storage.name, 0),
            last_step=len(graph.steps) if storage.is_output else last.get(storage.name, 0),
            alignment=storage.alignment,
        )
        for storage in graph.storages
    )
    in_place = tuple(InPlace(position[g.step], g.output, g.input) for g in graph.in_place)
    return MemoryProblem(buffers, graph.views, in_place, graph.overlaps)


def peak_bytes(graph: StepGraph, order: Sequence[int]) -> int:
    """Give the most bytes live at one step of `order`: the lower bound of its arena.

    Views count once, in-place and diagonal overlap as if each could be used.

    Raises:
        ValueError: as `memory_problem`.
    """
    problem = memory_problem(graph, order)
    return peak_load(blocks_of(problem), permissions_of(problem)).live_bytes


def _positions(graph: StepGraph, order: Sequence[int]) -> tuple[int, ...]:
    if sorted(order) != list(range(len(graph.steps))):
        raise ValueError("step graph: an order names each step once")
    position = [0] * len(order)
    for place, index in enumerate(order):
        position[index] = place
    for index, needed in enumerate(predecessors(graph)):
        if any(position[before] > position[index] for before in needed):
            raise ValueError(f"step graph: step {index} runs before what it needs")
    return tuple(position)


def _faults(steps: tuple[Step, ...], storages: tuple[Storage, ...]) -> list[str]:
    counts = Counter(storage.name for storage in storages)
    faults = [f"{name!r} is there {count} times" for name, count in counts.items() if count > 1]
    filled = {storage.name for storage in storages if storage.is_input}
    for index, step in enumerate(steps):
        for name in step.reads:
            if name not in filled:
                faults.append(f"step {index} reads {name!r}, which nothing wrote before")
        for name in step.writes:
            if name not in counts:
                faults.append(f"step {index} writes {name!r}, which is not a buffer")
            if name in filled:
                faults.append(f"step {index} writes {name!r}, which already holds a value")
            filled.add(name)
    faults += [f"nothing writes {name!r}" for name in counts if name not in filled]
    return faults
