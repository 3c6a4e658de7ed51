"""Placement: addresses for feature maps in the scratchpad and for constants in the weight buffer.

Feature maps go through the memory planner, with diagonal overlaps and in-place sums. Constants go
round the weight buffer in the order of their use: each may take the place of those whose last
reader comes before its own first one, and is loaded as soon as that reader is done.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lepton_cc.codegen.npu.cascade import read_rows
from lepton_cc.codegen.npu.constant_ring import ALIGNMENT, BlobLoad, ConstantRing, aligned
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.layers import ConvLayer, ElementwiseLayer, Layer, TableLayer
from lepton_cc.codegen.npu.layout import Layouts, MapLayout
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.prefetch import Occupied, load_ahead
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

_EXACT_BUFFERS = 80  # above, the exact solver takes seconds


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
    uses = _blob_uses(schedule.tasks)
    placed = _loaded_ahead(machine, schedule, uses) if prefetch else None
    plan, loads = _loaded_in_turn(machine, schedule, uses) if placed is None else placed
    offsets = plan.offsets
    buffers = {
        layout.buffer: Address(Region.SPM, offsets[layout.buffer.name])
        for layout in schedule.layouts.by_value.values()
        if layout.buffer.name in offsets
    }
    loads.sort(key=lambda load: load.first_use)
    addresses = {load.blob: load.address for load in loads}
    ends = {region: 0 for region in (Region.WBUF, Region.SPM)}
    for load in loads:
        end = load.address.offset + aligned(len(load.blob.content))
        ends[load.address.region] = max(ends[load.address.region], end)
    spare_bytes = max(ends[Region.SPM] - plan.arena_bytes, 0)
    return Places(buffers, addresses, tuple(loads), plan, ends[Region.WBUF], spare_bytes)


def _loaded_in_turn(
    machine: Machine, schedule: Schedule, uses: Mapping[Blob, tuple[int, int]]
) -> tuple[MemoryPlan, list[BlobLoad]]:
    """Constants go round the weight buffer; what it cannot hold is planned with the maps."""
    loads = _ring_loads(machine, schedule, uses)
    staged = _staged(uses, loads)
    plan = _plan(_problem(schedule, uses, staged))
    for name, blob in staged.items():
        first = uses[blob][0]
        address = Address(Region.SPM, plan.offsets[name])
        loads.append(BlobLoad(blob, max(first - 1, 0), first, address))
    return plan, loads


def _loaded_ahead(
    machine: Machine, schedule: Schedule, uses: Mapping[Blob, tuple[int, int]]
) -> tuple[MemoryPlan, list[BlobLoad]] | None:
    """The maps alone are planned, and constants put where they leave room; None if that fails."""
    problem = _problem(schedule, uses, {})
    plan = _plan(problem)
    tasks_of: dict[int, list[int]] = {}
    for number, step in enumerate(schedule.steps):
        tasks_of.setdefault(step, []).append(number)
    taken = [
        Occupied(
            plan.offsets[buffer.name],
            plan.offsets[buffer.name] + buffer.size_bytes,
            tasks_of[buffer.first_step][0],
            tasks_of[buffer.last_step][-1],
        )
        for buffer in problem.buffers
    ]
    loads = load_ahead(machine, uses, taken)
    return None if loads is None else (plan, loads)


@lru_cache(maxsize=64)  # variants of a segment often differ in nothing that is planned
def _plan(problem: MemoryProblem) -> MemoryPlan:
    return plan_memory(problem, exact=len(problem.buffers) <= _EXACT_BUFFERS)


def _blob_uses(tasks: Sequence[Task]) -> dict[Blob, tuple[int, int]]:
    """First and last task that reads each constant, in the order of the first."""
    uses: dict[Blob, tuple[int, int]] = {}
    for number, task in enumerate(tasks):
        if isinstance(task, ComputeTask):
            for blob in task.blobs:
                uses[blob] = (uses.get(blob, (number, number))[0], number)
    return uses


def memory_problem_of(machine: Machine, schedule: Schedule) -> MemoryProblem:
    """What the memory planner is asked: buffers of maps, and constants staged in the scratchpad."""
    uses = _blob_uses(schedule.tasks)
    loads = _ring_loads(machine, schedule, uses)
    return _problem(schedule, uses, _staged(uses, loads))


def _ring_loads(
    machine: Machine, schedule: Schedule, uses: Mapping[Blob, tuple[int, int]]
) -> list[BlobLoad]:
    """The constants that the weight buffer holds."""
    ring = ConstantRing(Address(Region.WBUF, 0), machine.member.wbuf_bytes)
    return [
        load
        for blob, use in uses.items()
        if blob not in schedule.staged and (load := ring.add(blob, *use)) is not None
    ]


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
        Buffer(value.name, sizes[value], first, last, ALIGNMENT)
        for value, (first, last) in ranges.items()
    ]
    buffers += [
        Buffer(
            name,
            len(blob.content),
            steps[max(uses[blob][0] - 1, 0)],
            steps[uses[blob][1]],
            ALIGNMENT,
        )
        for name, blob in staged.items()
    ]
    overlaps: list[Overlap] = []
    in_place: list[InPlace] = []
    for step, group in itertools.groupby(range(len(tasks)), key=lambda i: steps[i]):
        granted = step_permissions(step, [tasks[i] for i in group], layouts)
        overlaps += granted[0]
        in_place += granted[1]
    return MemoryProblem(tuple(buffers), in_place=tuple(in_place), overlaps=tuple(overlaps))


def step_permissions(
    step: int, tasks: Sequence[Task], layouts: Layouts
) -> tuple[list[Overlap], list[InPlace]]:
    """What of the maps that the tasks of a step read and write may share bytes."""
    task = tasks[0]
    if _is_cascade(tasks):
        return cascade_overlaps(tasks, layouts), []
    if isinstance(task, ComputeTask) and _is_whole(task):
        return _overlaps(task.layer, layouts), _in_place(step, task.layer, layouts)
    if isinstance(task, ComputeTask) and _are_all_slices(task.layer, tasks):
        # Each slice reads the channels of the residual that it stores, and no other does.
        return [], _in_place(step, task.layer, layouts)
    return [], []


def _is_cascade(tasks: Sequence[Task]) -> bool:
    """Whether the tasks of a step are stripes, and not the slices of one layer."""
    rows = {task.rows for task in tasks if isinstance(task, ComputeTask)}
    return len(rows) > 1 or any(not isinstance(task, ComputeTask) for task in tasks[1:])


def _is_whole(task: ComputeTask) -> bool:
    """Whether the tile is the whole layer: only then may its result overwrite its input."""
    shape = task.layer.shape
    outputs = (task.first_output, task.end_output) == (0, shape.channels)
    return outputs and (task.rows.first, task.rows.end) == (0, shape.height)


def _are_all_slices(layer: Layer, tasks: Sequence[Task]) -> bool:
    """Whether the tasks of a step are slices of the layer, each of all rows, and make all of it."""
    made = 0
    for task in tasks:
        assert isinstance(task, ComputeTask)
        if (task.rows.first, task.rows.end) != (0, layer.shape.height):
            return False
        made += task.end_output - task.first_output
    return made == layer.shape.channels


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
