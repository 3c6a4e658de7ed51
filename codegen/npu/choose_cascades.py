"""Which layers run in cascades, and in stripes of how many rows, when maps do not fit.

From the plan of whole layers on, the step with the peak is put into the cascade that brings the
peak below the budget at the least cost in cycles, or that lowers it most, until everything fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cascade import Cascade, candidates
from lepton_cc.codegen.npu.layers import Layer
from lepton_cc.codegen.npu.layout import Layouts
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.place import memory_problem_of
from lepton_cc.codegen.npu.schedule import Border, Schedule, Scheduler
from lepton_cc.codegen.npu.tasks import ComputeTask, StoreTask
from lepton_cc.codegen.npu.tile import task_cycles
from lepton_cc.passes.memory.block import blocks_of
from lepton_cc.passes.memory.bound import peak_load
from lepton_cc.passes.memory.clearance import permissions_of

# Placement may need a little more than the live bytes.
_SLACK = 0.98


@dataclass(frozen=True, slots=True)
class _Trial:
    """A set of cascades with its peak and the cycles of its convolutions."""

    cascades: tuple[Cascade, ...]
    peak_bytes: int
    peak_layer: int
    cycles: int


def choose_cascades(
    machine: Machine,
    layers: Sequence[Layer],
    layouts: Layouts,
    border: Border,
    scheduler: Scheduler,
) -> tuple[Cascade, ...]:
    """Cascades that make the maps fit the scratchpad, or bring them as near as can be."""
    budget = int(machine.member.spm_bytes * _SLACK)
    costs = _Costs(machine)
    best = _trial(layers, scheduler, (), costs)
    while best.peak_bytes > budget:
        found = _improved(layers, layouts, border, scheduler, best, budget, costs)
        if found is None:
            break
        best = found
    return best.cascades


def _improved(
    layers: Sequence[Layer],
    layouts: Layouts,
    border: Border,
    scheduler: Scheduler,
    known: _Trial,
    budget: int,
    costs: "_Costs",
) -> _Trial | None:
    dense = frozenset(
        value
        for value, layout in layouts.by_value.items()
        if layout.buffer == value and layout.is_dense
    )
    kept, inputs = frozenset(border.outputs), frozenset(border.inputs)
    trials = []
    for cascade in candidates(layers, kept, inputs, known.peak_layer, dense):
        others = tuple(
            other
            for other in known.cascades
            if other.last < cascade.first or cascade.last < other.first
        )
        trials.append(_trial(layers, scheduler, (*others, cascade), costs))
    # The peaks elsewhere stay as they are for now: what counts is this one.
    better = [trial for trial in trials if trial.peak_bytes < known.peak_bytes]
    return min(
        better,
        key=lambda t: (max(t.peak_bytes, budget), t.cycles, t.peak_bytes, len(t.cascades)),
        default=None,
    )


class _Costs:
    """Cycles of tiles, each shape once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[tuple[int, int, int, int, int, int], int] = {}

    def of(self, schedule: Schedule) -> int:
        """Of all convolutions."""
        total = 0
        for task in schedule.tasks:
            if isinstance(task, ComputeTask) and task.slices:
                outputs = task.end_output - task.first_output
                edge = task.rows.first == 0 or task.rows.end == task.layer.shape.height
                key = (
                    id(task.layer),
                    task.rows.count,
                    outputs,
                    task.mode,
                    task.stage_mode,
                    task.rows.first if edge else -1,
                )
                if key not in self._known:
                    self._known[key] = task_cycles(self._machine, task)
                total += self._known[key]
        return total


def _trial(
    layers: Sequence[Layer],
    scheduler: Scheduler,
    cascades: tuple[Cascade, ...],
    costs: _Costs,
) -> _Trial:
    schedule = scheduler.schedule(cascades)
    problem = memory_problem_of(schedule, {})
    peak = peak_load(blocks_of(problem), permissions_of(problem))
    return _Trial(
        cascades, peak.live_bytes, _layer_at(layers, schedule, peak.step), costs.of(schedule)
    )


def _layer_at(layers: Sequence[Layer], schedule: Schedule, step: int) -> int:
    """The number of the layer that a step computes, or whose input or result it moves."""
    numbers = {id(layer): number for number, layer in enumerate(layers)}
    results = {layer.result: number for number, layer in enumerate(layers)}
    for task, at in zip(schedule.tasks, schedule.steps, strict=True):
        if at < step:
            continue
        if isinstance(task, StoreTask):
            return results.get(task.value, 0)
        layer = getattr(task, "layer", None)
        if layer is not None:
            return numbers[id(layer)]
    return len(layers) - 1
