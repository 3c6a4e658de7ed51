"""Placement: addresses for feature maps in the scratchpad and for constants in the weight buffer.

Feature maps go through the memory planner, with diagonal overlaps and in-place sums. Constants go
round the weight buffer in the order of their use: each may take the place of those whose last
reader comes before its own first one, and is loaded as soon as that reader is done.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cascade import read_rows
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.layers import ConvLayer, ElementwiseLayer, Layer, TableLayer
from lepton_cc.codegen.npu.layout import Layouts, MapLayout
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.schedule import Schedule
from lepton_cc.codegen.npu.tasks import (
    Blob,
    ComputeTask,
    Task,
    read_values,
    written_values,
)
from lepton_cc.ir.graph import Value
from lepton_cc.passes.memory import (
    Buffer,
    Direction,
    InPlace,
    MemoryPlan,
    MemoryProblem,
    Overlap,
    plan_memory,
)

_ALIGNMENT = 16
_EXACT_BUFFERS = 80  # above, the exact solver takes seconds


@dataclass(frozen=True, slots=True)
class BlobLoad:
    """A constant that may be loaded before task number `before` and must be by `first_use`."""

    blob: Blob
    before: int
    first_use: int
    address: Address


@dataclass(frozen=True, slots=True)
class Places:
    """Address of each buffer; loads of constants in order; the plan of the scratchpad."""

    buffers: Mapping[Value, Address]
    blobs: Mapping[Blob, Address]
    loads: tuple[BlobLoad, ...]
    plan: MemoryPlan
    wbuf_bytes: int
    spare_bytes: int  # of the scratchpad above the plan, for constants

    @property
    def spm_bytes(self) -> int:
        """What the segment uses of the scratchpad."""
        return self.plan.arena_bytes + self.spare_bytes


def place(machine: Machine, schedule: Schedule, *, prefetch: bool = False) -> Places:
    """Addresses for everything that the tasks touch.

    `prefetch`: constants may go to free scratchpad too, where more of them are loaded ahead.
    The plan may be larger than the scratchpad: whoever asked decides what to do about it.
    """
    layouts = schedule.layouts
    uses = _blob_uses(schedule.tasks)
    loads, ring_bytes = _ring_loads(machine, schedule, uses)
    staged = _staged(uses, loads)
    problem = _problem(schedule, uses, staged)
    plan = plan_memory(problem, exact=len(problem.buffers) <= _EXACT_BUFFERS)
    offsets = plan.offsets
    for name, blob in staged.items():
        first = uses[blob][0]
        address = Address(Region.SPM, offsets[name])
        loads.append(BlobLoad(blob, max(first - 1, 0), first, address))
    spare_bytes = 0
    if prefetch:
        loads, spare_bytes = _prefetched(machine, loads, uses, plan.arena_bytes)
    buffers = {
        layout.buffer: Address(Region.SPM, offsets[layout.buffer.name])
        for layout in layouts.by_value.values()
        if layout.buffer.name in offsets
    }
    loads.sort(key=lambda load: load.first_use)
    addresses = {load.blob: load.address for load in loads}
    return Places(buffers, addresses, tuple(loads), plan, ring_bytes, spare_bytes)


def _prefetched(
    machine: Machine,
    loads: Sequence[BlobLoad],
    uses: Mapping[Blob, tuple[int, int]],
    used_bytes: int,
) -> tuple[list[BlobLoad], int]:
    """The loads with some moved to what the plan leaves of the scratchpad, to begin earlier."""
    start = -(-used_bytes // _ALIGNMENT) * _ALIGNMENT
    wbuf = _Ring(Address(Region.WBUF, 0), machine.member.wbuf_bytes)
    spare = _Ring(Address(Region.SPM, start), max(machine.member.spm_bytes - start, 0))
    moved = []
    for load in sorted(loads, key=lambda load: load.first_use):
        use = uses[load.blob]
        if load.address.region is Region.SPM:
            moved.append(load)
            continue
        rings = [ring for ring in (wbuf, spare) if ring.earliest(load.blob, use[0]) is not None]
        best = min(rings, key=lambda ring: ring.earliest(load.blob, use[0]) or 0, default=None)
        found = None if best is None else best.add(load.blob, *use)
        if found is None:
            return list(loads), 0
        moved.append(found)
    return moved, spare.used_bytes


def _blob_uses(tasks: Sequence[Task]) -> dict[Blob, tuple[int, int]]:
    """First and last task that reads each constant, in the order of the first."""
    uses: dict[Blob, tuple[int, int]] = {}
    for number, task in enumerate(tasks):
        if isinstance(task, ComputeTask):
            for blob in task.blobs:
                uses[blob] = (uses.get(blob, (number, number))[0], number)
    return uses


class _Ring:
    """Memory that is filled in a circle."""

    def __init__(self, base: Address, size_bytes: int) -> None:
        self._base = base
        self._size = size_bytes
        self._head = 0
        self._held: list[tuple[int, int, int]] = []  # offset, end, last use
        self.used_bytes = 0

    def earliest(self, blob: Blob, first_use: int) -> int | None:
        """The first task before which the constant may be loaded; None if it finds no place."""
        place = self._place(blob, first_use)
        return None if place is None else place[1]

    def add(self, blob: Blob, first_use: int, last_use: int) -> BlobLoad | None:
        """A place for the next constant; None if all that it would overwrite is still needed."""
        place = self._place(blob, first_use)
        if place is None:
            return None
        start, before = place
        end = start + _aligned(len(blob.content))
        # What is covered in part still guards the rest of its bytes.
        rest = [
            (low, high, last)
            for first, stop, last in self._held
            for low, high in ((first, min(stop, start)), (max(first, end), stop))
            if low < high
        ]
        self._held = [*rest, (start, end, last_use)]
        self._head = end
        self.used_bytes = max(self.used_bytes, end)
        return BlobLoad(blob, before, first_use, self._base.plus(start))

    def _place(self, blob: Blob, first_use: int) -> tuple[int, int] | None:
        size = _aligned(len(blob.content))
        for start in (self._head, 0):
            end = start + size
            if end > self._size:
                continue
            overwritten = [last for low, high, last in self._held if low < end and start < high]
            before = max(overwritten, default=-1) + 1
            if before <= first_use:
                return start, before
        return None


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT


def memory_problem_of(machine: Machine, schedule: Schedule) -> MemoryProblem:
    """What the memory planner is asked: buffers of maps, and constants staged in the scratchpad."""
    uses = _blob_uses(schedule.tasks)
    loads, _ = _ring_loads(machine, schedule, uses)
    return _problem(schedule, uses, _staged(uses, loads))


def _ring_loads(
    machine: Machine, schedule: Schedule, uses: Mapping[Blob, tuple[int, int]]
) -> tuple[list[BlobLoad], int]:
    """The constants that the weight buffer holds, and how many bytes of it they use."""
    ring = _Ring(Address(Region.WBUF, 0), machine.member.wbuf_bytes)
    loads = [
        load
        for blob, use in uses.items()
        if blob not in schedule.staged and (load := ring.add(blob, *use)) is not None
    ]
    return loads, ring.used_bytes


def _staged(uses: Mapping[Blob, tuple[int, int]], loads: Sequence[BlobLoad]) -> dict[str, Blob]:
    """The other constants, by the names of their buffers in the scratchpad."""
    placed = {load.blob for load in loads}
    staged = [blob for blob in uses if blob not in placed]
    return {f"weights.{number}": blob for number, blob in enumerate(staged)}


def _problem(
    schedule: Schedule, uses: Mapping[Blob, tuple[int, int]], staged: Mapping[str, Blob]
) -> MemoryProblem:
    tasks, layouts, steps = schedule.tasks, schedule.layouts, schedule.steps
    ranges: dict[Value, tuple[int, int]] = {}
    for task, step in zip(tasks, steps, strict=True):
        for value in (*read_values(task), *written_values(task)):
            buffer = layouts.by_value[value].buffer
            ranges[buffer] = (ranges.get(buffer, (step, step))[0], step)
    sizes = layouts.buffers()
    buffers = [
        Buffer(value.name, sizes[value], first, last, _ALIGNMENT)
        for value, (first, last) in ranges.items()
    ]
    buffers += [
        Buffer(
            name,
            len(blob.content),
            steps[max(uses[blob][0] - 1, 0)],
            steps[uses[blob][1]],
            _ALIGNMENT,
        )
        for name, blob in staged.items()
    ]
    overlaps: list[Overlap] = []
    in_place: list[InPlace] = []
    for step, group in itertools.groupby(range(len(tasks)), key=lambda i: steps[i]):
        members = [tasks[i] for i in group]
        task = members[0]
        if _is_cascade(members):
            overlaps += cascade_overlaps(members, layouts)
        elif isinstance(task, ComputeTask) and _is_whole(task):
            overlaps += _overlaps(task.layer, layouts)
            in_place += _in_place(step, task.layer, layouts)
    return MemoryProblem(tuple(buffers), in_place=tuple(in_place), overlaps=tuple(overlaps))


def _is_cascade(tasks: Sequence[Task]) -> bool:
    """Whether the tasks of a step are stripes, and not the slices of one layer."""
    rows = {task.rows for task in tasks if isinstance(task, ComputeTask)}
    return len(rows) > 1 or any(not isinstance(task, ComputeTask) for task in tasks[1:])


def _is_whole(task: ComputeTask) -> bool:
    """Whether the tile is the whole layer: only then may its result overwrite its input."""
    shape = task.layer.shape
    outputs = (task.first_output, task.end_output) == (0, shape.channels)
    return outputs and (task.rows.first, task.rows.end) == (0, shape.height)


def _owns_buffer(layout: MapLayout) -> bool:
    return layout.offset == 0 and layout.is_dense


def _in_place(number: int, layer: Layer, layouts: Layouts) -> list[InPlace]:
    """A result may take the place of an operand that is read at the same element only."""
    result = layouts.by_value[layer.result]
    if result.buffer != layer.result:
        return []
    operands: list[Value] = []
    if isinstance(layer, ElementwiseLayer | TableLayer):
        operands = list(layer.inputs)
    if isinstance(layer, ConvLayer) and layer.residual is not None:
        operands = [layer.residual.value]
    return [
        InPlace(number, layer.result.name, layouts.by_value[v].buffer.name)
        for v in operands
        if layouts.by_value[v].shape == result.shape
        and _owns_buffer(layouts.by_value[v])
        and not _is_read_elsewhere(layer, v, layouts)
    ]


def _is_read_elsewhere(layer: Layer, operand: Value, layouts: Layouts) -> bool:
    """Whether the layer reads bytes of an operand at other elements too, by another input."""
    mine = layouts.by_value[operand]
    inputs = [layouts.by_value[value] for value in layer.inputs]
    if isinstance(layer, ConvLayer):
        return inputs[0].buffer == mine.buffer
    return any(other.buffer == mine.buffer and other != mine for other in inputs)


def cascade_overlaps(tasks: Sequence[Task], layouts: Layouts) -> list[Overlap]:
    """How far the result of a cascade may reach up into the map that its first layer reads.

    After each store of rows up to `end`, later tasks read the input from some row `needed` on:
    result_end - (rows - end) result_row <= input + needed input_row.
    """
    compute = [task for task in tasks if isinstance(task, ComputeTask)]
    first, last = compute[0].layer, compute[-1].layer
    source, result = layouts.by_value[first.inputs[0]], layouts.by_value[last.result]
    if not (_owns_buffer(source) and _owns_buffer(result)):
        return []
    needed = source.shape.height
    reach = source.buffer_bytes
    value = first.inputs[0]
    reads = {read for task in compute for read in task.layer.inputs if read != value}
    if any(layouts.by_value[read].buffer == source.buffer for read in reads):
        return []
    for task in reversed(compute):
        if task.layer is last:
            # A residual is read row by row as the result is stored.
            is_residual = value in last.inputs[1:]
            for end in range(task.rows.first + 1, task.rows.end + 1):
                free = min(needed, end) if is_residual else needed
                stored_later = (result.shape.height - end) * result.row_stride
                reach = min(reach, free * source.row_stride + stored_later)
        for position, read in enumerate(task.layer.inputs):
            if read == value:
                needed = min(needed, read_rows(task.layer, task.rows, position).first)
    names = (result.buffer.name, source.buffer.name)
    return [Overlap(*names, reach, Direction.UPWARDS)] if reach > 0 else []


def _overlaps(layer: Layer, layouts: Layouts) -> list[Overlap]:
    """How far a result may reach up into the input whose rows it consumes one by one.

    Row y is stored at once, when the rows above `(y + 1) stride - pad` of the input are done with:
    result_end - (rows - 1 - y) result_row <= input + ((y + 1) stride - pad) input_row for each y.
    """
    if not isinstance(layer, ConvLayer) or layer.window.upsample[0] > 1:
        return []
    source, result = layouts.by_value[layer.x], layouts.by_value[layer.result]
    if not (_owns_buffer(source) and _owns_buffer(result)):
        return []
    if any(layouts.by_value[value].buffer == source.buffer for value in layer.inputs[1:]):
        return []
    scale = 2 if layer.pool else 1
    stride, pad = layer.window.stride[0] * scale, layer.window.pad[0]
    rows = result.shape.height
    reach = source.buffer_bytes
    for y in range(rows - 1):
        free_rows = min(max((y + 1) * stride - pad, 0), source.shape.height)
        stored_later = (rows - 1 - y) * result.row_stride
        reach = min(reach, free_rows * source.row_stride + stored_later)
    names = (result.buffer.name, source.buffer.name)
    return [Overlap(*names, reach, Direction.UPWARDS)] if reach > 0 else []
