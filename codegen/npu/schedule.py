"""Scheduling: layers to tasks in order, with their tiles, slices and encodings chosen.

layers -> (tilings by the cycle equation) -> loads, tiles, copies, stores
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cycles import ceil_div
from lepton_cc.codegen.npu.isa.packets import Encoding
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    Layer,
    MatMulLayer,
    MoveLayer,
    Weights,
    map_shape,
)
from lepton_cc.codegen.npu.layout import Layouts
from lepton_cc.codegen.npu.machine import RATE_UNIT, Machine
from lepton_cc.codegen.npu.tasks import (
    Blob,
    ComputeTask,
    CopyTask,
    LoadTask,
    Rows,
    StoreTask,
    Task,
)
from lepton_cc.codegen.npu.tile import Tiling, choose_tiling, task_cycles
from lepton_cc.codegen.npu.weights.slices import encode_slice, slice_sizes
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Value
from lepton_cc.ir.tensor import Array

_PLAIN = frozenset({Encoding.RAW8, Encoding.RAW4, Encoding.BITMAP})
_ALL = frozenset(Encoding)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tasks in order; `staged` are the blobs that need a place in the scratchpad."""

    tasks: tuple[Task, ...]
    staged: frozenset[Blob]


class Coding(enum.Enum):
    """When a slice is stored in a prefix code, which is smaller and four times slower to decode.

    PLAIN: never. BALANCED: if its tile takes no longer, its transfer included. SMALLEST: whenever
    it is smaller, for systems whose flash sets the pace in any case.
    """

    PLAIN = "plain"
    BALANCED = "balanced"
    SMALLEST = "smallest"


class TileMaker:
    """Makes the compute tasks of layers: tilings and encoded slices, each made once."""

    def __init__(self, machine: Machine, coding: Coding) -> None:
        self._machine = machine
        self._coding = coding
        self._blobs: dict[tuple[int, int, int, int, int], Blob] = {}
        self._tables: dict[bytes, Blob] = {}
        self.staged: set[Blob] = set()

    def tasks(self, layer: Layer, rows: Rows, tiling: Tiling | None = None) -> list[ComputeTask]:
        """The tiles that compute these rows of the layer's result, all its channels."""
        table = self._table(layer)
        if isinstance(layer, ConvLayer):
            return self._convolution(layer, rows, tiling, table)
        mode = 0
        if isinstance(layer, MatMulLayer):
            mode = _matmul_mode(self._machine, layer)
        return [ComputeTask(layer, rows, 0, layer.shape.channels, mode, table=table)]

    def _convolution(
        self, layer: ConvLayer, rows: Rows, tiling: Tiling | None, table: Blob | None
    ) -> list[ComputeTask]:
        chosen = tiling or choose_tiling(self._machine, layer, rows)
        if chosen is None:
            raise InternalError(f"no tiling for {layer.location}")
        tasks = []
        for first, end in chosen.slices:
            tile = ComputeTask(layer, rows, first, end, chosen.mode, chosen.stage_mode, table=table)
            slices = [self._slice(layer, tile)]
            if layer.stage is not None:
                slices.append(self._stage_slice(layer, tile))
            if not chosen.in_weight_buffer:
                self.staged.update(slices)
            tasks.append(dataclasses.replace(tile, slices=tuple(slices)))
        return tasks

    def _slice(self, layer: ConvLayer, tile: ComputeTask) -> Blob:
        member = self._machine.member
        if layer.depthwise:
            width = member.depthwise_modes[tile.mode].channels
        else:
            width = member.modes[tile.mode].outputs
        first, end = tile.first_output, tile.end_output
        key = (id(layer.weights), first, end, width, 0)
        if key not in self._blobs:
            part = _cut(layer.weights, first, end)
            values = part.values[:, :, 0, :] if layer.depthwise else part.values
            self._blobs[key] = self._encoded(part, values, width, layer.groups, tile)
        return self._blobs[key]

    def _stage_slice(self, layer: ConvLayer, tile: ComputeTask) -> Blob:
        assert layer.stage is not None
        width = self._machine.member.depthwise_modes[tile.stage_mode].channels
        weights = layer.stage.weights
        key = (id(weights), 0, weights.num_outputs, width, 1)
        if key not in self._blobs:
            values = weights.values[:, :, 0, :]
            self._blobs[key] = self._encoded(weights, values, width, 1, None)
        return self._blobs[key]

    def _encoded(
        self, part: Weights, values: Array, width: int, groups: int, tile: ComputeTask | None
    ) -> Blob:
        """The smallest slice that the coding policy allows."""
        lanes = max(self._machine.member.decoder_weights // 8, 1)
        sizes = slice_sizes(values, tile=width, groups=groups, lanes=lanes, allowed=_ALL)
        plain = min(size for encoding, size in sizes.items() if encoding in _PLAIN)
        coded = sizes.get(Encoding.PREFIX, plain)
        pays = tile is not None and coded < plain and self._coding_pays(tile, plain, coded)
        encoded = encode_slice(
            values,
            part.scales,
            part.biases,
            tile=width,
            groups=groups,
            lanes=lanes,
            allowed=_ALL if pays else _PLAIN,
        )
        return Blob(encoded.content, encoded)

    def _coding_pays(self, tile: ComputeTask, plain: int, coded: int) -> bool:
        """Whether a slice in a prefix code is worth its slower decoding."""
        if self._coding is not Coding.BALANCED:
            return self._coding is Coding.SMALLEST
        rate = self._machine.system.constants.rate
        slow, fast = (
            max(task_cycles(self._machine, tile, encoding=encoding), size * RATE_UNIT // rate)
            for encoding, size in ((Encoding.PREFIX, coded), (Encoding.RAW8, plain))
        )
        return slow <= fast

    def _table(self, layer: Layer) -> Blob | None:
        if isinstance(layer, MoveLayer):
            return None
        table = getattr(layer, "table", None)
        if table is None:
            return None
        content = table.tobytes()
        return self._tables.setdefault(content, Blob(content))


def _cut(weights: Weights, first: int, end: int) -> Weights:
    return Weights(
        weights.values[..., first:end], weights.scales[first:end], weights.biases[first:end]
    )


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


def schedule_layers(
    machine: Machine,
    layers: Sequence[Layer],
    layouts: Layouts,
    inputs: Mapping[Value, int],
    outputs: Mapping[Value, int],
    coding: Coding = Coding.BALANCED,
) -> Schedule:
    """Layer after layer, each computed whole; inputs are loaded first, outputs stored when made."""
    maker = TileMaker(machine, coding)
    tasks: list[Task] = []
    loaded: set[Value] = set()
    for layer in layers:
        for value in layer.inputs:
            if value in inputs and value not in loaded:
                loaded.add(value)
                tasks.append(LoadTask(value, inputs[value], whole(value)))
        if isinstance(layer, MoveLayer):
            if layer.result in layouts.copied:
                tasks.append(CopyTask(layer))
        else:
            tasks += maker.tasks(layer, whole(layer.result))
        if layer.result in outputs:
            tasks.append(StoreTask(layer.result, outputs[layer.result], whole(layer.result)))
    return Schedule(tuple(tasks), frozenset(maker.staged))
