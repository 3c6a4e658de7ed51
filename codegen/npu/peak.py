"""The peak of the scratchpad: what a search over cascades asks of thousands of schedules.

It is the memory planner's lower bound of the problem that `place` states, put together from the
units of a schedule: each is looked at once, and no schedule is made.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from lepton_cc.codegen.npu.constant_ring import ALIGNMENT, Turn, Use, aligned, refused
from lepton_cc.codegen.npu.layout import Layouts
from lepton_cc.codegen.npu.place import step_permissions
from lepton_cc.codegen.npu.schedule import Unit, with_rings
from lepton_cc.codegen.npu.tasks import Blob, ComputeTask, read_values, written_values
from lepton_cc.ir.graph import Value
from lepton_cc.passes.memory.bound import PeakLoad, capped_savings


@dataclass(frozen=True, slots=True)
class _Extent:
    """A buffer of `size_bytes` that the steps `first` to `last` of a unit touch."""

    buffer: str
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Permission:
    """At a step of a unit an output may reach `bytes` into an input; None: lie in its place."""

    step: int
    output: str
    input: str
    bytes: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """A unit as the memory planner sees it; tasks and steps count from its first.

    `uses` are all its constants in the order of their first use, `blobs` the same as bytes;
    `tables` are those that other units may read too.
    """

    steps: tuple[int, ...]  # of each task
    num_steps: int
    extents: tuple[_Extent, ...]
    permissions: tuple[_Permission, ...]
    blobs: tuple[Blob, ...]
    uses: tuple[Use, ...]
    tables: frozenset[Blob]


# Bytes of a constant in the scratchpad, with the first and last step that it lives.
_Staged = tuple[int, int, int]


class PeakMeter:
    """Peaks of schedules of one segment; `staged` are the blobs that no weight buffer shall hold.

    More may be staged from one call to the next, none less. A unit has the same layouts always.
    """

    def __init__(self, staged: set[Blob], wbuf_bytes: int) -> None:
        self._staged = staged
        self._wbuf_bytes = wbuf_bytes
        self._profiles: dict[int, tuple[Unit, _Profile]] = {}
        # By profile, head of the ring, and number of staged blobs.
        self._turns: dict[tuple[int, int, int], tuple[list[int], Turn]] = {}

    def of(self, units: Sequence[Unit], layouts: Layouts) -> PeakLoad:
        """The first step at which most bytes live, and how many."""
        profiles = [self._profile(unit, layouts) for unit in units]
        ranges: dict[str, list[int]] = {}  # first and last step, bytes
        base = 0
        for profile in profiles:
            for extent in profile.extents:
                known = ranges.get(extent.buffer)
                if known is None:
                    first, last = base + extent.first, base + extent.last
                    ranges[extent.buffer] = [first, last, extent.size_bytes]
                else:
                    known[1] = base + extent.last
            base += profile.num_steps
        live = _Live(base)
        for first, last, size_bytes in ranges.values():
            live.add(first, last, size_bytes)
        for size_bytes, first, last in self._staged_by(profiles):
            live.add(first, last, size_bytes)
        return live.peak(_saved(profiles, ranges))

    def _profile(self, unit: Unit, layouts: Layouts) -> _Profile:
        known = self._profiles.get(id(unit))
        if known is None:
            known = self._profiles[id(unit)] = (unit, _profile_of(unit, layouts))
        return known[1]

    def _staged_by(self, profiles: Sequence[_Profile]) -> Iterator[_Staged]:
        """The constants that the weight buffer does not hold, units following each other."""
        spans = _table_spans(profiles)
        turn = Turn()
        tasks = steps = 0
        for profile in profiles:
            alone = not turn.needed and not profile.tables
            key = (id(profile), turn.head, len(self._staged))
            known = self._turns.get(key) if alone else None
            if known is None:
                known = self._turned(profile, turn, tasks, spans)
                if alone:
                    # Others read none of its constants, so that nothing of them is needed.
                    known = self._turns[key] = (known[0], Turn(known[1].head))
            missing, turn = known
            for index in missing:
                use, blob = profile.uses[index], profile.blobs[index]
                # A slice is loaded while the task before runs.
                first = profile.steps[use.first - 1] if use.first else -1
                last = spans[blob].last_step if blob in spans else steps + profile.steps[use.last]
                yield len(blob.content), max(steps + first, 0), last
            tasks += len(profile.steps)
            steps += profile.num_steps

    def _turned(
        self, profile: _Profile, turn: Turn, tasks: int, spans: Mapping[Blob, "_Span"]
    ) -> tuple[list[int], Turn]:
        """The indices of what the ring does not take of a unit's constants, and where it stands."""
        missing: list[int] = []
        asked: list[int] = []
        uses: list[Use] = []
        for index, (blob, use) in enumerate(zip(profile.blobs, profile.uses, strict=True)):
            first, last = tasks + use.first, tasks + use.last
            if blob in spans:
                if spans[blob].first_task < first:
                    continue  # it is there already
                last = spans[blob].last_task
            if blob in self._staged:
                missing.append(index)
            else:
                asked.append(index)
                uses.append(Use(use.size_bytes, first, last))
        refusals, turn = refused(uses, turn, self._wbuf_bytes)
        return [*missing, *(asked[index] for index in refusals)], turn


@dataclass(frozen=True, slots=True)
class _Span:
    """First and last task, and last step, of all units that read a table."""

    first_task: int
    last_task: int
    last_step: int


def _table_spans(profiles: Sequence[_Profile]) -> dict[Blob, _Span]:
    spans: dict[Blob, _Span] = {}
    tasks = steps = 0
    for profile in profiles:
        if profile.tables:
            for blob, use in zip(profile.blobs, profile.uses, strict=True):
                if blob in profile.tables:
                    first = spans[blob].first_task if blob in spans else tasks + use.first
                    last_step = steps + profile.steps[use.last]
                    spans[blob] = _Span(first, tasks + use.last, last_step)
        tasks += len(profile.steps)
        steps += profile.num_steps
    return spans


def _profile_of(unit: Unit, layouts: Layouts) -> _Profile:
    layouts = with_rings(layouts, unit.rings) if unit.rings else layouts
    extents: dict[Value, list[int]] = {}
    blobs: dict[Blob, list[int]] = {}
    tables: set[Blob] = set()
    permissions: list[_Permission] = []
    number = 0
    for step, tasks in enumerate(unit.steps):
        touched: dict[Value, None] = {}
        for task in tasks:
            touched.update(dict.fromkeys((*read_values(task), *written_values(task))))
            if isinstance(task, ComputeTask):
                for blob in task.blobs:
                    blobs.setdefault(blob, [number, number])[1] = number
                if task.table is not None:
                    tables.add(task.table)
            number += 1
        for value in touched:
            extents.setdefault(layouts.by_value[value].buffer, [step, step])[1] = step
        permissions += _permissions(step, unit, layouts)
    sizes = layouts.buffers()
    return _Profile(
        tuple(step for step, tasks in enumerate(unit.steps) for _ in tasks),
        len(unit.steps),
        tuple(_Extent(v.name, sizes[v], *extent) for v, extent in extents.items()),
        tuple(permissions),
        tuple(blobs),
        tuple(Use(aligned(len(blob.content)), *use) for blob, use in blobs.items()),
        frozenset(tables),
    )


def _permissions(step: int, unit: Unit, layouts: Layouts) -> Iterator[_Permission]:
    overlaps, in_place = step_permissions(step, unit.steps[step], layouts)
    yield from (_Permission(step, one.output, one.input, one.bytes) for one in overlaps)
    yield from (_Permission(step, one.output, one.input, None) for one in in_place)


class _Live:
    """Bytes and granules of all that lives at each step; a granule is the alignment."""

    def __init__(self, num_steps: int) -> None:
        self._bytes = [0] * (num_steps + 1)
        self._granules = [0] * (num_steps + 1)
        self._starts: set[int] = set()

    def add(self, first: int, last: int, size_bytes: int) -> None:
        """A buffer that lives from step `first` to `last`."""
        if size_bytes:
            granules = -(-size_bytes // ALIGNMENT)
            self._bytes[first] += size_bytes
            self._bytes[last + 1] -= size_bytes
            self._granules[first] += granules
            self._granules[last + 1] -= granules
            self._starts.add(first)

    def peak(self, saved: Mapping[int, tuple[int, int]]) -> PeakLoad:
        """The first step with the most, less the bytes and granules saved at a step."""
        found = PeakLoad(0, 0)
        num_bytes, num_granules = list(accumulate(self._bytes)), list(accumulate(self._granules))
        for step in sorted(self._starts):
            bytes_less, granules_less = saved.get(step, (0, 0))
            size_bytes = max(
                num_bytes[step] - bytes_less, (num_granules[step] - granules_less) * ALIGNMENT
            )
            if size_bytes > found.live_bytes:
                found = PeakLoad(step, size_bytes)
        return found


def _saved(
    profiles: Sequence[_Profile], ranges: Mapping[str, Sequence[int]]
) -> dict[int, tuple[int, int]]:
    """Most bytes and granules that permissions can save at each step; see `passes.memory.bound`.

    A permission counts where the output begins and the input ends.
    """
    shared: dict[int, dict[tuple[str, str], int]] = {}
    base = 0
    for profile in profiles:
        for grant in profile.permissions:
            step = base + grant.step
            output, source = ranges[grant.output], ranges[grant.input]
            if not output[0] == step == source[1]:
                continue
            if grant.bytes is None:
                size_bytes = output[2] if output[2] <= source[2] else 0
            else:
                size_bytes = min(grant.bytes, output[2], source[2])
            pairs = shared.setdefault(step, {})
            pair = (grant.output, grant.input)
            pairs[pair] = max(pairs.get(pair, 0), size_bytes)
        base += profile.num_steps
    return {step: _most_saved(pairs, ranges) for step, pairs in shared.items()}


def _most_saved(
    pairs: Mapping[tuple[str, str], int], ranges: Mapping[str, Sequence[int]]
) -> tuple[int, int]:
    """What all shares save, seen from the outputs or from the inputs, whichever is less."""
    sides = []
    for side in (0, 1):
        shares: dict[str, list[int]] = defaultdict(list)
        for pair, size_bytes in pairs.items():
            shares[pair[side]].append(size_bytes)
        limits = [ranges[name][2] for name in shares]
        sides.append(capped_savings(tuple(shares.values()), limits, ALIGNMENT))
    return min(side[0] for side in sides), min(side[1] for side in sides)
