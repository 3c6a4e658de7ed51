"""Scheduling: layers to tasks in order, with their tiles, slices and encodings chosen.

layers -> (tilings by the cycle equation) -> loads, tiles, copies, stores
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cascade import (
    Cascade,
    CascadePlan,
    plan_cascade,
)
from lepton_cc.codegen.npu.coding import Coding, SliceStore
from lepton_cc.codegen.npu.cycles import ceil_div
from lepton_cc.codegen.npu.isa.regions import Address
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    Layer,
    MatMulLayer,
    MoveLayer,
    Weights,
    map_shape,
)
from lepton_cc.codegen.npu.layout import Layouts
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.tasks import (
    Blob,
    ComputeTask,
    CopyTask,
    LoadTask,
    Rows,
    StoreTask,
    Task,
)
from lepton_cc.codegen.npu.tile import (
    Staging,
    Tiling,
    array_width,
)
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Value


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tasks in order; `staged` are the blobs that need a place in the scratchpad.

    `steps[i]` is the step of the memory plan that task i belongs to: a cascade is one.
    `layouts` has the rings of the cascades.
    """

    tasks: tuple[Task, ...]
    steps: tuple[int, ...]
    staged: frozenset[Blob]
    layouts: Layouts


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What stands together in all schedules that have it: a layer by itself, or a cascade.

    `runs`: the cascade, or the number of the layer; `layers`: those that run. `steps` are the tasks
    of each step of the memory plan, loads and stores included; `rings` are the rows of the values
    that live in rings.
    """

    runs: Cascade | int
    layers: tuple[Layer, ...]
    steps: tuple[tuple[Task, ...], ...]
    rings: Mapping[Value, int]


UnitKey = tuple[Cascade | int, tuple[tuple[Value, ...], ...], tuple[Value, ...], bool]
"""What runs, the inputs of its layers, what is loaded for it, and whether each slice is a step."""


class TileMaker:
    """Makes the compute tasks of layers: tilings and encoded slices, each made once."""

    def __init__(
        self,
        machine: Machine,
        store: SliceStore,
        coding: Coding = Coding.PLAIN,
        staging: Staging = Staging.WHEN_NEEDED,
    ) -> None:
        self._machine = machine
        self._staging = staging
        self._store = store
        self.tilings = store.tilings
        self._coding = coding
        self._blobs: dict[tuple[int, int, int, int], Blob] = {}
        self._tables: dict[bytes, Blob] = {}
        # Tasks hold their layers, whose identities so are not given to others.
        self._tasks: dict[tuple[int, Rows, Tiling | None], list[ComputeTask]] = {}
        # By weights, which layers of other inputs share; they keep their identity from others.
        self._tilings: dict[tuple[int, int, bool, bool], tuple[Weights, Tiling]] = {}
        self.staged: set[Blob] = set()

    def tasks(
        self, layer: Layer, rows: Rows, tiling: Tiling | None = None
    ) -> Sequence[ComputeTask]:
        """The tiles that compute these rows of the layer's result, all its channels."""
        key = (id(layer), rows, tiling)
        if key not in self._tasks:
            self._tasks[key] = self._make(layer, rows, tiling)
        return self._tasks[key]

    def _make(self, layer: Layer, rows: Rows, tiling: Tiling | None) -> list[ComputeTask]:
        table = self._table(layer)
        if isinstance(layer, ConvLayer):
            return self._convolution(layer, rows, tiling, table)
        mode = 0
        if isinstance(layer, MatMulLayer):
            mode = _matmul_mode(self._machine, layer)
        return [ComputeTask(layer, rows, 0, layer.shape.channels, mode, table=table)]

    def tiling(self, layer: ConvLayer, rows: Rows, *, striped: bool = False) -> Tiling:
        """The fastest tiling for so many rows; each is searched once."""
        key = (id(layer.weights), rows.count, striped, layer.residual is None)
        if key not in self._tilings:
            chosen = self.tilings.choose(layer, rows, striped=striped, staging=self._staging)
            if chosen is None:
                raise InternalError(f"no tiling for {layer.location}")
            self._tilings[key] = (layer.weights, chosen)
        return self._tilings[key][1]

    def _convolution(
        self, layer: ConvLayer, rows: Rows, tiling: Tiling | None, table: Blob | None
    ) -> list[ComputeTask]:
        chosen = tiling or self.tiling(layer, rows)
        tasks = []
        for first, end in chosen.slices:
            tile = ComputeTask(layer, rows, first, end, chosen.mode, chosen.stage_mode, table=table)
            slices = [self._slice(layer, tile)]
            if layer.stage is not None:
                slices.append(self._stage_slice(layer, tile))
            if not chosen.in_weight_buffer:
                self.staged.update(slices)
            tasks.append(
                ComputeTask(
                    *(layer, rows, first, end, chosen.mode, chosen.stage_mode),
                    slices=tuple(slices),
                    table=table,
                )
            )
        return tasks

    def _slice(self, layer: ConvLayer, tile: ComputeTask) -> Blob:
        first, end = tile.first_output, tile.end_output
        width = array_width(self._machine.member, layer, tile.mode)
        key = (id(layer.weights), first, end, width)
        if key not in self._blobs:
            encoded = self._store.slice(
                layer.weights,
                (first, end),
                depthwise=layer.depthwise,
                width=width,
                groups=layer.groups,
                coding=self._coding,
                tile=tile,
            )
            self._blobs[key] = Blob(encoded.content, encoded)
        return self._blobs[key]

    def _stage_slice(self, layer: ConvLayer, tile: ComputeTask) -> Blob:
        assert layer.stage is not None
        width = self._machine.member.depthwise_modes[tile.stage_mode].channels
        weights = layer.stage.weights
        key = (id(weights), 0, weights.num_outputs, width)
        if key not in self._blobs:
            encoded = self._store.slice(
                weights,
                (0, weights.num_outputs),
                depthwise=True,
                width=width,
                groups=1,
                coding=self._coding,
                tile=None,
            )
            self._blobs[key] = Blob(encoded.content, encoded)
        return self._blobs[key]

    def _table(self, layer: Layer) -> Blob | None:
        if isinstance(layer, MoveLayer):
            return None
        table = getattr(layer, "table", None)
        if table is None:
            return None
        content = table.tobytes()
        return self._tables.setdefault(content, Blob(content))


def _matmul_mode(machine: Machine, layer: MatMulLayer) -> int:
    shape = layer.shape
    best = min(
        range(len(machine.member.modes)),
        key=lambda i: (
            ceil_div(shape.width * shape.height, machine.member.modes[i].columns)
            * ceil_div(shape.channels, machine.member.modes[i].outputs)
            * ceil_div(layer.lhs.type.dims[-1], machine.member.modes[i].depth),
            i,
        ),
    )
    return best


def whole(value: Value) -> Rows:
    """All rows of a value."""
    return Rows(0, map_shape(value.type).height)


@dataclass(frozen=True, slots=True)
class Border:
    """Where values from outside lie, and where values go; a value may be in both."""

    inputs: Mapping[Value, Address]
    outputs: Mapping[Value, Address]


class Scheduler:
    """Makes schedules of one segment; tiles and slices are made once for all of them.

    `units` may be shared by schedulers of the same layers with other values spilled, if it does not
    matter where these lie: a unit that both have is that of the one that made it.
    """

    def __init__(
        self,
        machine: Machine,
        layers: Sequence[Layer],
        layouts: Layouts,
        border: Border,
        maker: "TileMaker",
        units: dict[UnitKey, Unit] | None = None,
    ) -> None:
        self._machine = machine
        self._layers = tuple(layers)
        self._layouts = layouts
        self._border = border
        self._maker = maker
        self._plans: dict[Cascade, CascadePlan] = {}
        self._cascades: dict[Cascade, list[Task]] = {}
        self._units = {} if units is None else units

    def schedule(self, cascades: Sequence[Cascade] = ()) -> Schedule:
        """Layer after layer, each whole or in a cascade.

        Inputs are loaded before their first reader, outputs stored when they are made.
        """
        units = self.units(cascades)
        groups = [step for unit in units for step in unit.steps]
        rings = {value: rows for unit in units for value, rows in unit.rings.items()}
        return Schedule(
            tuple(task for group in groups for task in group),
            tuple(number for number, group in enumerate(groups) for _ in group),
            frozenset(self._maker.staged),
            with_rings(self._layouts, rings),
        )

    def units(self, cascades: Sequence[Cascade]) -> list[Unit]:
        """What `schedule` consists of; units that schedules share are made once."""
        by_first = {cascade.first: cascade for cascade in cascades}
        loaded = {value for cascade in cascades for value in cascade.streamed}
        units: list[Unit] = []
        index = 0
        while index < len(self._layers):
            cascade = by_first.get(index)
            last = index if cascade is None else cascade.last
            members = self._layers[index : last + 1]
            loads = tuple(self._loads(members, loaded))
            units.append(self._unit(index if cascade is None else cascade, members, loads))
            index = last + 1
        return units

    def _unit(
        self, runs: Cascade | int, members: Sequence[Layer], loads: tuple[LoadTask, ...]
    ) -> Unit:
        apart = isinstance(runs, int) and self._has_staged(members[0])
        inputs = tuple(layer.inputs for layer in members)
        key = (runs, inputs, tuple(load.value for load in loads), apart)
        if key not in self._units:
            steps: list[list[Task]] = [[load] for load in loads]
            rings: Mapping[Value, int] = {}
            if isinstance(runs, int):
                steps += self._steps(members[0], apart=apart)
            else:
                steps.append(self._cascade(members, runs))
                rings = self._plan(runs).ring_rows
            if isinstance(runs, int) or not runs.stores:
                steps += [[task] for task in self._stores(members)]
            self._units[key] = Unit(runs, tuple(members), tuple(map(tuple, steps)), rings)
        return self._units[key]

    def _loads(self, members: Sequence[Layer], loaded: set[Value]) -> Iterator[LoadTask]:
        for layer in members:
            for value in layer.inputs:
                if value in self._border.inputs and value not in loaded:
                    loaded.add(value)
                    yield LoadTask(value, self._border.inputs[value], whole(value))

    def _stores(self, members: Sequence[Layer]) -> Iterator[Task]:
        for layer in members:
            if layer.result in self._border.outputs:
                target = self._border.outputs[layer.result]
                yield StoreTask(layer.result, target, whole(layer.result))

    def _has_staged(self, layer: Layer) -> bool:
        """Whether the whole layer has slices that are staged in the scratchpad."""
        if not isinstance(layer, ConvLayer):
            return False
        tasks = self._maker.tasks(layer, whole(layer.result))
        return any(blob in self._maker.staged for task in tasks for blob in task.slices)

    def _steps(self, layer: Layer, *, apart: bool) -> list[list[Task]]:
        """The tasks of a whole layer: one step of the memory plan, or one each to stage slices."""
        if isinstance(layer, MoveLayer):
            return [[CopyTask(layer)]] if layer.result in self._layouts.copied else []
        tasks = self._maker.tasks(layer, whole(layer.result))
        return [[task] for task in tasks] if apart else [list(tasks)]

    def _plan(self, cascade: Cascade) -> CascadePlan:
        if cascade not in self._plans:
            self._plans[cascade] = plan_cascade(self._layers, cascade)
        return self._plans[cascade]

    def _cascade(self, members: Sequence[Layer], cascade: Cascade) -> list[Task]:
        if cascade not in self._cascades:
            self._cascades[cascade] = self._stripes(members, cascade, self._plan(cascade))
        return self._cascades[cascade]

    def _stripes(self, members: Sequence[Layer], cascade: Cascade, plan: CascadePlan) -> list[Task]:
        tilings = [self._striped_tiling(i, layer, plan) for i, layer in enumerate(members)]
        result = members[-1].result
        reloaded = frozenset() if cascade.stages else reloaded_layers(self._machine, members)
        tasks: list[Task] = []
        for stripe in plan.stripes:
            tasks += [LoadTask(v, self._border.inputs[v], rows) for v, rows in stripe.loaded]
            for layer, rows, tiling in zip(members, stripe.computed, tilings, strict=True):
                if rows is not None:
                    made = self._maker.tasks(layer, rows, tiling)
                    tasks += map(_with_own_slices, made) if layer in reloaded else made
            new = stripe.computed[-1]
            if cascade.stores and new is not None:
                tasks.append(StoreTask(result, self._border.outputs[result], new))
        return tasks

    def _striped_tiling(self, index: int, layer: Layer, plan: CascadePlan) -> Tiling | None:
        """One tiling for all stripes, chosen for the number of rows that most of them have."""
        if not isinstance(layer, ConvLayer):
            return None
        counts = Counter(
            rows.count for stripe in plan.stripes if (rows := stripe.computed[index]) is not None
        )
        (most, _), *_ = counts.most_common(1)
        return self._maker.tiling(layer, Rows(0, most), striped=True)


def with_rings(layouts: Layouts, rings: Mapping[Value, int]) -> Layouts:
    """The layouts with so many rows of the values that live in rings."""
    by_value = dict(layouts.by_value)
    for value, rows in rings.items():
        by_value[value] = dataclasses.replace(by_value[value], ring_rows=rows)
    return Layouts(by_value, layouts.copied)


def reloaded_layers(machine: Machine, members: Sequence[Layer]) -> frozenset[Layer]:
    """The layers of a cascade whose weights are loaded for every stripe anew.

    They are those with the most weights, until what is left stays in half the weight buffer.
    """
    sizes = {layer: layer.num_weights for layer in members if isinstance(layer, ConvLayer)}
    kept = sum(sizes.values())
    reloaded: set[Layer] = set()
    for layer in sorted(sizes, key=lambda layer: -sizes[layer]):
        if kept <= machine.member.wbuf_bytes // 2:
            break
        kept -= sizes[layer]
        reloaded.add(layer)
    return frozenset(reloaded)


def _with_own_slices(task: ComputeTask) -> ComputeTask:
    """The task with slices that no other task shares, so that they are loaded for it alone."""
    slices = tuple(Blob(blob.content, blob.encoded) for blob in task.slices)
    return ComputeTask(
        task.layer,
        task.rows,
        task.first_output,
        task.end_output,
        task.mode,
        task.stage_mode,
        slices,
        task.table,
    )
