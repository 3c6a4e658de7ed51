"""Live bytes of partly run step graphs: what the search for an order asks a million times.

What has run is a bit mask over steps. Which buffers are live, and so every figure here, depends on
that mask alone and not on the order in which it came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lepton_cc.passes.memory.bound import aligned_up
from lepton_cc.passes.memory.clearance import merged_spans
from lepton_cc.passes.memory.problem import root_offsets
from lepton_cc.passes.memory.step_graph import StepGraph, memory_problem, predecessors

FOREVER = -1
"""The reader mask of an output: it has a reader in every mask of steps still to run, even none."""


@dataclass(frozen=True, slots=True)
class Load:
    """Bytes live while a step runs, and after it."""

    during: int
    after: int


@dataclass(frozen=True, slots=True)
class _Saving:
    output: int
    input: int
    size_bytes: int


@dataclass(slots=True)
class LoadModel:
    """A step graph compiled to indices and bit masks; remembers the bytes of groups of views."""

    before: tuple[int, ...]
    """For each step, the mask of the steps that must have run."""
    followers: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    readers: tuple[int, ...]
    touched: tuple[tuple[int, ...], ...]
    """For each step, the buffers without views that it reads and that may die at it."""
    written: tuple[tuple[int, ...], ...]
    grouped: tuple[tuple[int, ...], ...]
    """For each step, the groups of views that it reads or writes."""
    groups: tuple[tuple[int, ...], ...]
    spans: tuple[tuple[int, int], ...]
    savings: tuple[tuple[_Saving, ...], ...]
    writers: tuple[int | None, ...]
    start_bytes: int = 0
    _group_bytes: dict[tuple[int, ...], int] = field(default_factory=dict)

    @property
    def all_steps(self) -> int:
        """The mask of a graph that has run to its end."""
        return (1 << len(self.before)) - 1

    def load(self, done: int, live_bytes: int, step: int) -> Load:
        """Give the load of running `step` after the steps in `done`, which left `live_bytes`."""
        rest = ~(done | 1 << step)
        during = after = live_bytes
        for index in self.written[step]:
            during += self.sizes[index]
            if self.readers[index] & rest:
                after += self.sizes[index]
        for index in self.touched[step]:
            if not self.readers[index] & rest:
                after -= self.sizes[index]
        for group in self.grouped[step]:
            old = self._live_members(group, done)
            kept = self._live_members(group, done | 1 << step)
            new = tuple(i for i in self.groups[group] if self.writers[i] == step)
            base = self._bytes_of(old)
            during += self._bytes_of(tuple(sorted({*old, *new}))) - base
            after += self._bytes_of(kept) - base
        if self.savings[step]:
            during -= self._saved(step, rest)
        return Load(max(during, after), after)

    def own_bytes(self, step: int) -> int:
        """Give what the step needs in every order; groups of views are left out."""
        own = {*self.touched[step], *self.written[step]}
        return sum(self.sizes[index] for index in own) - self._saved(step, 0)

    def _live_members(self, group: int, done: int) -> tuple[int, ...]:
        return tuple(
            index
            for index in self.groups[group]
            if ((writer := self.writers[index]) is None or done >> writer & 1)
            and self.readers[index] & ~done
        )

    def _bytes_of(self, members: tuple[int, ...]) -> int:
        if members not in self._group_bytes:
            spans = merged_spans(self.spans[index] for index in members)
            self._group_bytes[members] = sum(last - first + 1 for first, last in spans)
        return self._group_bytes[members]

    def _saved(self, step: int, rest: int) -> int:
        by_output: dict[int, int] = {}
        by_input: dict[int, int] = {}
        for saving in self.savings[step]:
            if not self.readers[saving.input] & rest:
                by_output[saving.output] = by_output.get(saving.output, 0) + saving.size_bytes
                by_input[saving.input] = by_input.get(saving.input, 0) + saving.size_bytes
        return min(
            sum(min(self.sizes[index], size) for index, size in by_output.items()),
            sum(min(self.sizes[index], size) for index, size in by_input.items()),
        )


def load_model(graph: StepGraph) -> LoadModel:
    """Compile a step graph; sizes are rounded up to the smallest alignment."""
    names = {storage.name: index for index, storage in enumerate(graph.storages)}
    granule = min((s.alignment for s in graph.storages), default=1)
    needed = predecessors(graph)
    sizes = tuple(aligned_up(s.size_bytes, granule) for s in graph.storages)
    roots = root_offsets(memory_problem(graph, range(len(graph.steps))))
    groups, group_of = _view_groups(graph, [roots[s.name][0] for s in graph.storages])
    readers = _reader_masks(graph, names)
    starts = [roots[storage.name][1] for storage in graph.storages]
    writers: list[int | None] = [None] * len(names)
    for index, step in enumerate(graph.steps):
        for name in step.writes:
            writers[names[name]] = index
    model = LoadModel(
        before=tuple(sum(1 << index for index in row) for row in needed),
        followers=_followers(needed),
        sizes=sizes,
        readers=readers,
        touched=tuple(_alone(step.reads, names, group_of) for step in graph.steps),
        written=tuple(_alone(step.writes, names, group_of) for step in graph.steps),
        grouped=tuple(
            tuple(sorted({group_of[names[n]] for n in (*s.reads, *s.writes)} - {-1}))
            for s in graph.steps
        ),
        groups=groups,
        spans=tuple((at, at + size - 1) for at, size in zip(starts, sizes, strict=True)),
        savings=_savings(graph, names, sizes),
        writers=tuple(writers),
    )
    for index, storage in enumerate(graph.storages):
        if storage.is_input and readers[index] and group_of[index] < 0:
            model.start_bytes += sizes[index]
    for group in range(len(groups)):
        model.start_bytes += model._bytes_of(model._live_members(group, 0))
    return model


def _view_groups(
    graph: StepGraph, roots: Sequence[str]
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Give the groups of two or more buffers, and for each buffer its group or -1."""
    members: dict[str, list[int]] = {}
    for index, root in enumerate(roots):
        members.setdefault(root, []).append(index)
    groups = tuple(tuple(group) for group in members.values() if len(group) > 1)
    group_of = [-1] * len(graph.storages)
    for number, group in enumerate(groups):
        for index in group:
            group_of[index] = number
    return groups, tuple(group_of)


def _reader_masks(graph: StepGraph, names: dict[str, int]) -> tuple[int, ...]:
    masks = [FOREVER if storage.is_output else 0 for storage in graph.storages]
    for index, step in enumerate(graph.steps):
        for name in step.reads:
            masks[names[name]] |= 1 << index
    return tuple(masks)


def _followers(needed: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    followers: list[list[int]] = [[] for _ in needed]
    for index, row in enumerate(needed):
        for before in row:
            followers[before].append(index)
    return tuple(tuple(row) for row in followers)


def _alone(used: Sequence[str], names: dict[str, int], group_of: Sequence[int]) -> tuple[int, ...]:
    indices = dict.fromkeys(names[name] for name in used)
    return tuple(index for index in indices if group_of[index] < 0)


def _savings(
    graph: StepGraph, names: dict[str, int], sizes: Sequence[int]
) -> tuple[tuple[_Saving, ...], ...]:
    """Give for each step the best permission between each output of it and each input."""
    best: list[dict[tuple[int, int], int]] = [{} for _ in graph.steps]
    for overlap in graph.overlaps:
        output, source = names[overlap.output], names[overlap.input]
        for index, step in enumerate(graph.steps):
            if overlap.output in step.writes and overlap.input in step.reads:
                size = min(overlap.bytes, sizes[output], sizes[source])
                best[index][output, source] = max(size, best[index].get((output, source), 0))
    for grant in graph.in_place:
        output, source = names[grant.output], names[grant.input]
        if sizes[output] <= sizes[source] and grant.output in graph.steps[grant.step].writes:
            best[grant.step][output, source] = sizes[output]
    return tuple(tuple(_Saving(*pair, size) for pair, size in sorted(row.items())) for row in best)
