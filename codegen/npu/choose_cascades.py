"""Which layers run in cascades, in stripes of how many rows, and which values are spilled.

From the plan of whole layers on, the step with the peak is put into the cascade that brings the
peak below the budget at the least cost in cycles, or that lowers it most. Where no cascade helps,
large values are spilled.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cascade import STRIPED, Cascade, Surroundings, candidates, chained_input
from lepton_cc.codegen.npu.cycles import ceil_div
from lepton_cc.codegen.npu.layers import ConvLayer, Layer, map_shape
from lepton_cc.codegen.npu.layout import assign_layouts
from lepton_cc.codegen.npu.machine import RATE_UNIT, Machine
from lepton_cc.codegen.npu.order import chained_order
from lepton_cc.codegen.npu.peak import PeakMeter
from lepton_cc.codegen.npu.place import memory_problem_of
from lepton_cc.codegen.npu.schedule import (
    Border,
    Scheduler,
    TileMaker,
    Unit,
    UnitKey,
    reloaded_layers,
)
from lepton_cc.codegen.npu.spill import Spilled, spill, spillable
from lepton_cc.codegen.npu.tasks import ComputeTask, Rows, StoreTask
from lepton_cc.codegen.npu.weights.slices import CHANNEL_BYTES
from lepton_cc.ir.graph import Value
from lepton_cc.passes.memory import MemoryProblem
from lepton_cc.passes.memory.bound import PeakLoad

_PARTS = (0.5, 0.35, 0.25, 0.18, 0.12)
_LARGE = 0.6  # of the budget: a value that leaves no room for its neighbours
_STREAMED_ROWS = 4
_STREAMED_PART = 0.8  # of the budget, for the rings of a layer that streams


@dataclass(frozen=True, slots=True)
class Shape:
    """How a segment runs: its layers (with spilled values renamed), border and cascades."""

    layers: tuple[Layer, ...]
    border: Border
    cascades: tuple[Cascade, ...]
    spilled_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class _Trial:
    """A set of cascades with its peak, and the cycles that it costs."""

    cascades: tuple[Cascade, ...]
    peak: PeakLoad
    cycles: int

    @property
    def peak_bytes(self) -> int:
        """Bytes of maps, and of weights that the scratchpad must hold, at the peak."""
        return self.peak.live_bytes


def choose_shapes(
    machine: Machine, layers: Sequence[Layer], border: Border, maker: TileMaker, budget: int
) -> tuple[Shape, ...]:
    """Cascades and spills that bring the live bytes of maps to the budget, or as near as can be.

    A second shape spills more than it must: what streams is loaded and stored while layers run.
    """
    unspilled = spill(layers, frozenset(), border.inputs)
    whole = _Search(machine, layers, border, unspilled, _Known(machine, maker), 1 << 62).run()
    if whole.peak_bytes <= budget:
        return (whole,)
    layers = chained_order(layers)
    known = _Known(machine, maker)

    def search(values: frozenset[Value]) -> _Search:
        found = spill(layers, values, border.inputs)
        return _Search(machine, layers, border, found, known, budget)

    best: Shape | None = None
    for values in _spills(layers, border, budget):
        shape = search(values).run()
        if best is None or shape.peak_bytes < best.peak_bytes:
            best = shape
        if shape.peak_bytes <= budget:
            needed = _needed(layers, values, budget, search)
            fewer = search(needed).run() if needed < values else shape
            fits = needed < values and fewer.peak_bytes <= budget
            return (fewer, shape) if fits else (shape,)
    assert best is not None
    return (best,)


def _needed(
    layers: Sequence[Layer],
    values: frozenset[Value],
    budget: int,
    search: Callable[[frozenset[Value]], "_Search"],
) -> frozenset[Value]:
    """The spilled values without those that find room after all, the small ones tried first."""
    limit = max(search(values).first_peak(), budget)
    in_order = dict.fromkeys(v for layer in layers for v in (*layer.inputs, layer.result))
    by_size: dict[int, list[Value]] = {}
    for value in in_order:
        if value in values and value.type.size_bytes <= budget:
            by_size.setdefault(value.type.size_bytes, []).append(value)
    for size in sorted(by_size):
        group = by_size[size]
        parts = [frozenset(group), *(frozenset({v}) for v in group if len(group) > 1)]
        for part in parts:
            if part <= values and search(values - part).first_peak() <= limit:
                values -= part
    return values


def _spills(layers: Sequence[Layer], border: Border, budget: int) -> Iterator[frozenset[Value]]:
    """Ever more values to spill: at first those that no ring can hold, then all above a size."""
    fit = _spillable(layers, border)
    seen = _hopeless(layers, fit, budget)
    yield seen
    for part in _PARTS:
        values = frozenset(v for v in fit if v.type.size_bytes > part * budget)
        if not values <= seen:
            seen |= values
            yield values


def _hopeless(layers: Sequence[Layer], fit: frozenset[Value], budget: int) -> frozenset[Value]:
    """Large values, of those fit to be spilled, that no ring can hold: spilled at once.

    They have several readers, or one that does not read them as the rows of a chain.
    """
    readers = Counter(value for layer in layers for value in layer.inputs)
    chained = {chained_input(layer) for layer in layers if isinstance(layer, STRIPED)}
    return frozenset(
        value
        for value in fit
        if value.type.size_bytes > _LARGE * budget and (readers[value] > 1 or value not in chained)
    )


def _spillable(layers: Sequence[Layer], border: Border) -> frozenset[Value]:
    layouts = assign_layouts(layers, tuple(border.inputs))
    dense = frozenset(v for v, layout in layouts.by_value.items() if layout.buffer == v)
    return spillable(layers, border.inputs, dense) - frozenset(border.outputs)


class _Search:
    """The search for cascades with a given set of spilled values."""

    def __init__(
        self,
        machine: Machine,
        layers: Sequence[Layer],
        border: Border,
        spilled: Spilled,
        known: "_Known",
        budget: int,
    ) -> None:
        self._machine = machine
        self._known = known
        self._layers = spilled.layers
        self._budget = budget
        self._spilled_bytes = spilled.num_bytes
        read = {value for layer in self._layers for value in layer.inputs}
        inputs = {**border.inputs, **spilled.inputs}
        self._border = Border(
            {value: at for value, at in inputs.items() if value in read},
            {**border.outputs, **spilled.outputs},
        )
        self._layouts = assign_layouts(self._layers, tuple(self._border.inputs))
        self._around = Surroundings(
            frozenset(self._border.outputs),
            frozenset(self._border.inputs),
            frozenset(
                value
                for value, layout in self._layouts.by_value.items()
                if layout.buffer == value and layout.is_dense
            ),
            spilled.values,
        )
        self._scheduler = Scheduler(
            machine, self._layers, self._layouts, self._border, known.maker, known.units
        )

    def first_peak(self) -> int:
        """Live bytes of maps where only what is spilled runs in stripes."""
        units = self._scheduler.units(self._streaming())
        return self._known.meter.of(units, self._layouts).live_bytes

    def run(self) -> Shape:
        """The best cascades found."""
        best = self._trial(self._streaming())
        while best.peak_bytes > self._budget:
            better = self._improved(best)
            if better is None:
                break
            best = better
        best = self._with_more_rows(self._with_staged_weights(best))
        return Shape(
            self._layers, self._border, best.cascades, self._spilled_bytes, best.peak_bytes
        )

    def _with_staged_weights(self, known: _Trial) -> _Trial:
        """The cascades with weights that stay for all stripes where the scratchpad has room."""
        if self._machine.system.shared or known.peak_bytes > self._budget:
            return known  # from shared memory, loading again costs what staging would
        schedule = self._scheduler.schedule(known.cascades)
        live = _live_bytes(memory_problem_of(self._machine, schedule))
        steps = {
            task.layer.result: step
            for task, step in zip(schedule.tasks, schedule.steps, strict=True)
            if isinstance(task, ComputeTask)
        }

        def has_room(cascade: Cascade) -> bool:
            members = self._layers[cascade.first : cascade.last + 1]
            step = steps[members[0].result]
            weights = sum(
                layer.num_weights + layer.shape.channels * CHANNEL_BYTES
                for layer in reloaded_layers(self._machine, members)
                if isinstance(layer, ConvLayer)
            )
            # Slices are loaded while the task before runs.
            return 0 < weights <= self._budget - max(live[max(step - 1, 0)], live[step])

        trial = self._trial(
            tuple(
                dataclasses.replace(cascade, stages=True) if has_room(cascade) else cascade
                for cascade in known.cascades
            )
        )
        better = trial.peak_bytes <= self._budget and trial.cycles < known.cycles
        return trial if better else known

    def _with_more_rows(self, known: _Trial) -> _Trial:
        """Fewer stripes of single layers whose weights each one loads, where the peak stays."""
        if known.peak_bytes > self._budget:
            return known
        for cascade in known.cascades:
            layer = self._layers[cascade.first]
            if cascade.first < cascade.last or cascade.stages:
                continue
            if not reloaded_layers(self._machine, (layer,)):
                continue
            for stripes in range(2, ceil_div(layer.shape.height, cascade.rows)):
                rows = ceil_div(layer.shape.height, stripes)
                larger = dataclasses.replace(cascade, rows=rows)
                trial = self._trial(
                    tuple(larger if one == cascade else one for one in known.cascades)
                )
                if trial.peak_bytes <= known.peak_bytes and trial.cycles < known.cycles:
                    known = trial
                    break
        return known

    def _streaming(self) -> tuple[Cascade, ...]:
        """A cascade of its own for each layer that reads or makes a spilled value."""
        outside = self._around.outside
        return tuple(
            Cascade(
                number,
                number,
                self._streamed_rows(layer),
                frozenset(layer.inputs) & outside,
                layer.result in outside,
            )
            for number, layer in enumerate(self._layers)
            if isinstance(layer, STRIPED) and outside & {*layer.inputs, layer.result}
        )

    def _streamed_rows(self, layer: Layer) -> int:
        """Rows of a stripe of a layer by itself: many, so that weights are seldom loaded again."""
        shapes = [layer.shape, *(map_shape(value.type) for value in layer.inputs)]
        row_bytes = sum(2 * shape.width * shape.channels for shape in shapes)
        rows = int(_STREAMED_PART * self._budget) // row_bytes
        return max(1, min(rows, _STREAMED_ROWS, layer.shape.height))

    def _improved(self, known: _Trial) -> _Trial | None:
        trials = []
        for cascade in candidates(self._layers, self._around, self._peak_layer(known)):
            if not self._streams_all(cascade):
                continue
            kept = [c for c in known.cascades if c.last < cascade.first or cascade.last < c.first]
            cut = [
                c
                for c in known.cascades
                if c not in kept and not (cascade.first <= c.first and c.last <= cascade.last)
            ]
            if not cut:
                trials.append(self._trial((*kept, cascade)))
        better = [trial for trial in trials if trial.peak_bytes < known.peak_bytes]
        return min(
            better,
            key=lambda t: (
                max(t.peak_bytes, self._budget),
                t.cycles,
                t.peak_bytes,
                len(t.cascades),
            ),
            default=None,
        )

    def _streams_all(self, cascade: Cascade) -> bool:
        """Whether a cascade streams every spilled value that its layers touch."""
        chain = self._layers[cascade.first : cascade.last + 1]
        read = {value for layer in chain for value in layer.inputs}
        return read & self._around.outside <= cascade.streamed

    def _trial(self, cascades: tuple[Cascade, ...]) -> _Trial:
        units = self._scheduler.units(cascades)
        peak = self._known.meter.of(units, self._layouts)
        return _Trial(cascades, peak, self._known.costs.of(units))

    def _peak_layer(self, trial: _Trial) -> int:
        """The layer that runs at the peak, or whose input or result is moved then."""
        units = self._scheduler.units(trial.cascades)
        return _layer_at(self._layers, units, trial.peak.step)


class _Known:
    """What searches over the same layers share, whatever is spilled."""

    def __init__(self, machine: Machine, maker: TileMaker) -> None:
        self.maker = maker
        self.units: dict[UnitKey, Unit] = {}
        self.meter = PeakMeter(maker.staged, machine.member.wbuf_bytes)
        self.costs = _Costs(machine, maker)


class _Costs:
    """What cascades cost in cycles of convolutions more than whole layers, each computed once."""

    def __init__(self, machine: Machine, maker: TileMaker) -> None:
        self._machine = machine
        self._maker = maker
        self._known: dict[Unit, int] = {}

    def of(self, units: Sequence[Unit]) -> int:
        """Of all cascades among these units."""
        total = 0
        for unit in units:
            if isinstance(unit.runs, Cascade):
                if unit not in self._known:
                    self._known[unit] = self._extra(unit, unit.runs)
                total += self._known[unit]
        return total

    def _extra(self, unit: Unit, cascade: Cascade) -> int:
        striped = (task for tasks in unit.steps for task in tasks if isinstance(task, ComputeTask))
        whole = sum(
            self._maker.tiling(layer, Rows(0, layer.shape.height)).cycles
            for layer in unit.layers
            if isinstance(layer, ConvLayer)
        )
        tiles = [task for task in striped if task.slices]
        blobs = {blob for task in tiles for blob in task.slices}
        once = {blob.content for blob in blobs}
        reloaded = sum(len(blob.content) for blob in blobs) - sum(map(len, once))
        transfer = reloaded * RATE_UNIT // self._machine.system.constants.rate
        staged = reloaded_layers(self._machine, unit.layers) if cascade.stages else frozenset()
        computing = sum(
            self._maker.tilings.cycles(task, in_weight_buffer=task.layer not in staged)
            for task in tiles
        )
        return computing + transfer - whole


def _live_bytes(problem: MemoryProblem) -> list[int]:
    """Bytes of all buffers that live at each step."""
    changes = [0] * (max((buffer.last_step for buffer in problem.buffers), default=0) + 2)
    for buffer in problem.buffers:
        changes[buffer.first_step] += buffer.size_bytes
        changes[buffer.last_step + 1] -= buffer.size_bytes
    return list(itertools.accumulate(changes))


def _layer_at(layers: Sequence[Layer], units: Sequence[Unit], step: int) -> int:
    """The number of the layer that a step computes, or whose input or result it moves."""
    results = {layer.result: number for number, layer in enumerate(layers)}
    steps = [tasks for unit in units for tasks in unit.steps]
    for task in itertools.chain.from_iterable(steps[step:]):
        if isinstance(task, StoreTask):
            return results.get(task.value, 0)
        layer = getattr(task, "layer", None)
        if layer is not None:
            return results[layer.result]
    return len(layers) - 1
