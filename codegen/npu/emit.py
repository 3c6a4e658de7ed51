"""Emission: tasks with addresses to packets, without tokens (`synchronize` adds them)."""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from lepton_cc.codegen.npu.cascade import read_rows
from lepton_cc.codegen.npu.constant_ring import BlobLoad
from lepton_cc.codegen.npu.convolution_packet import PlacedMap, convolution_packet
from lepton_cc.codegen.npu.cycles import packet_cycles
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.isa.regions import Address
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    ElementwiseLayer,
    MapShape,
    MatMulLayer,
    PoolLayer,
    TableLayer,
)
from lepton_cc.codegen.npu.layout import Layouts, MapLayout, dense_layout
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.movement_packets import copy_packets, map_copy
from lepton_cc.codegen.npu.place import Places
from lepton_cc.codegen.npu.tasks import (
    ComputeTask,
    CopyTask,
    LoadTask,
    Rows,
    StoreTask,
    Task,
)
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Value

# Constants loaded ahead, each with a token; the rest of `MOST_AHEAD` is for maps.
_MOST_AHEAD = 200


class Emitter:
    """Makes the packets of tasks; `constants` gives each blob its address in flash."""

    def __init__(
        self,
        machine: Machine,
        layouts: Layouts,
        places: Places,
        constants: Mapping[bytes, Address],
    ) -> None:
        self._machine = machine
        self._layouts = layouts
        self._places = places
        self._constants = constants

    def packets(self, tasks: Sequence[Task], layers: Mapping[int, int]) -> list[Packet]:
        """The packets of all tasks, each constant being loaded as early as it may be.

        `layers` numbers the layers, by identity.
        """
        loads = deque(self._places.loads)
        ahead: deque[int] = deque()  # first uses of what is loaded and not yet used
        packets: list[Packet] = []
        for number, task in enumerate(tasks):
            while ahead and ahead[0] < number:
                ahead.popleft()
            # An input that the next task waits for comes before constants that later ones need.
            horizon = number + 1 if isinstance(task, LoadTask) else len(tasks)
            while (
                loads
                and loads[0].before <= number
                and loads[0].first_use <= horizon
                and (len(ahead) < _MOST_AHEAD or loads[0].first_use <= number)
            ):
                ahead.append(loads[0].first_use)
                packets.append(self._load(loads.popleft()))
            layer = layers.get(id(getattr(task, "layer", None)), 0)
            packets += [Packet(p.opcode, p.fields, layer) for p in self._task(task)]
        return packets

    def _load(self, load: BlobLoad) -> Packet:
        source = self._constants[load.blob.content]
        return dma(source, load.address, len(load.blob.content))

    def _placed(self, value: Value) -> PlacedMap:
        layout = self._layouts.by_value[value]
        return PlacedMap(layout, self._places.buffers[layout.buffer])

    def _task(self, task: Task) -> Iterator[Packet]:
        match task:
            case LoadTask():
                yield from self._transfer(task.value, task.outside, task.rows, load=True)
            case StoreTask():
                yield from self._transfer(task.value, task.outside, task.rows, load=False)
            case CopyTask():
                yield from copy_packets(task.layer, self._placed)
            case ComputeTask():
                yield self._compute(task)

    def _transfer(
        self, value: Value, outside: Address, rows: Rows, *, load: bool
    ) -> Iterator[Packet]:
        """Rows between the scratchpad and a dense tensor outside."""
        inner, dense = self._placed(value), PlacedMap(dense_layout(value), outside)
        for part in _ring_parts(inner.layout, rows):
            source, target = (dense, inner) if load else (inner, dense)
            yield from map_copy(source, target, part)

    def _compute(self, task: ComputeTask) -> Packet:
        layer = task.layer
        match layer:
            case ConvLayer():
                residual = None if layer.residual is None else self._placed(layer.residual.value)
                x, result = self._placed(layer.x), self._placed(layer.result)
                return convolution_packet(task, x, result, residual, self._places.blobs)
            case MatMulLayer():
                return self._matmul(task, layer)
            case ElementwiseLayer():
                return self._elementwise(task, layer)
            case PoolLayer():
                return self._pool(task, layer)
            case TableLayer():
                return self._table(task, layer)
        raise InternalError(f"no packet for {type(layer).__name__}")

    def _table_fields(self, task: ComputeTask) -> dict[str, FieldValue]:
        if task.table is None:
            return {}
        return {"table_address": self._places.blobs[task.table], "epilogue": int(Epilogue.TABLE)}

    def _elementwise(self, task: ComputeTask, layer: ElementwiseLayer) -> Packet:
        rhs = self._placed(layer.rhs)
        given, wanted = rhs.layout.shape, layer.shape
        fields: dict[str, FieldValue] = {
            **self._placed(layer.lhs).fields("lhs", task.rows),
            **rhs.fields("rhs", task.rows if given.height > 1 else Rows(0, 1)),
            **self._placed(layer.result).fields("ofm", task.rows),
            "height": task.rows.count,
            "width": wanted.width,
            "channels": wanted.channels,
            "kind": layer.kind,
            "rhs_repeats_channel": int(given.channels < wanted.channels),
            "lhs_scale": layer.lhs_scale,
            "rhs_scale": layer.rhs_scale,
            "offset": layer.offset,
            "lhs_zero_point": layer.zero_points[0],
            "rhs_zero_point": layer.zero_points[1],
            "clamp_low": layer.low,
            "clamp_high": layer.high,
            **self._table_fields(task),
        }
        if given.height == 1:
            fields["rhs_row_stride"] = 0
        if given.width == 1:
            fields["rhs_pixel_stride"] = 0
        return Packet(Opcode.ELEMENTWISE, fields)

    def _table(self, task: ComputeTask, layer: TableLayer) -> Packet:
        shape = layer.shape
        fields = {
            **self._placed(layer.x).fields("ifm", task.rows),
            **self._placed(layer.result).fields("ofm", task.rows),
            "height": task.rows.count,
            "width": shape.width,
            "channels": shape.channels,
            **self._table_fields(task),
        }
        fields.pop("epilogue", None)
        return Packet(Opcode.TABLE, fields)

    def _pool(self, task: ComputeTask, layer: PoolLayer) -> Packet:
        window = layer.window
        x, result = self._placed(layer.x), self._placed(layer.result)
        shape, input_shape = layer.shape, x.layout.shape
        read = read_rows(layer, task.rows)
        pad_top = window.pad[0] + read.first - task.rows.first * window.stride[0]
        fields: dict[str, FieldValue] = {
            **x.fields("ifm", read),
            **result.fields("ofm", task.rows),
            "ifm_height": read.count,
            "ifm_width": input_shape.width,
            "ifm_channels": input_shape.channels,
            "ofm_height": task.rows.count,
            "ofm_width": shape.width,
            "ofm_channels": shape.channels,
            "kernel_height": window.kernel[0],
            "kernel_width": window.kernel[1],
            "stride_y": window.stride[0],
            "stride_x": window.stride[1],
            "pad_top": pad_top,
            "pad_left": window.pad[1],
            "ofm_zero_point": layer.range.zero_point if layer.kind is Pool.SUM else 0,
            "clamp_low": layer.range.low,
            "clamp_high": layer.range.high,
            "sum_zero_point": layer.sum_zero_point,
            "scale": layer.scale,
            "kind": layer.kind,
            **self._table_fields(task),
        }
        return _fastest(self._machine, Packet(Opcode.POOL, fields))

    def _matmul(self, task: ComputeTask, layer: MatMulLayer) -> Packet:
        lhs, rhs, result = (self._placed(value) for value in (layer.lhs, layer.rhs, layer.result))
        lhs_row, lhs_batch = _matrix_strides(layer.lhs, lhs.layout)
        rhs_depth, rhs_batch = _matrix_strides(layer.rhs, rhs.layout)
        ofm_row, ofm_batch = _matrix_strides(layer.result, result.layout)
        batch, rows = _matrix_sizes(result.layout.shape, layer.result)
        fields: dict[str, FieldValue] = {
            "lhs_address": lhs.start,
            "lhs_row_stride": lhs_row,
            "lhs_batch_stride": lhs_batch,
            "rhs_address": rhs.start,
            "rhs_depth_stride": rhs_depth,
            "rhs_column_stride": 1,
            "rhs_batch_stride": rhs_batch,
            "ofm_address": result.start,
            "ofm_row_stride": ofm_row,
            "ofm_batch_stride": ofm_batch,
            "batch": batch,
            "rows": rows,
            "columns": layer.result.type.dims[-1],
            "depth": layer.lhs.type.dims[-1],
            "lhs_zero_point": layer.lhs_zero_point,
            "rhs_zero_point": layer.rhs_zero_point,
            "ofm_zero_point": layer.range.zero_point,
            "mode": task.mode,
            "clamp_low": layer.range.low,
            "clamp_high": layer.range.high,
            "scale": layer.scale,
            **self._table_fields(task),
        }
        return Packet(Opcode.MATMUL, fields)


def dma(source: Address, target: Address, num_bytes: int) -> Packet:
    """A copy of contiguous bytes."""
    fields: dict[str, FieldValue] = {
        "source": source,
        "target": target,
        "run_bytes": num_bytes,
        "count1": 1,
        "count2": 1,
        "count3": 1,
    }
    return Packet(Opcode.DMA, fields)


def _fastest(machine: Machine, packet: Packet) -> Packet:
    """The packet in the depthwise mode that takes it the least time."""
    modes = range(len(machine.member.depthwise_modes))
    packets = [Packet(packet.opcode, {**packet.fields, "mode": mode}) for mode in modes]
    return min(packets, key=lambda p: packet_cycles(machine, p).total)


def _matrix_strides(value: Value, layout: MapLayout) -> tuple[int, int]:
    """Bytes from a row of a matrix to the next, and from a matrix to the next.

    [1, M, K] is one matrix, whose rows are the map's.
    """
    if value.type.rank == 3 and value.type.dims[0] == 1:
        return layout.row_stride, 0
    return layout.pixel_stride, layout.row_stride


def _matrix_sizes(shape: MapShape, value: Value) -> tuple[int, int]:
    rows = value.type.dims[-2]
    return (shape.height * shape.width) // rows, rows


def _ring_parts(layout: MapLayout, rows: Rows) -> Iterator[Rows]:
    """The rows, cut where a ring wraps."""
    ring = layout.ring_rows
    if not ring:
        yield rows
        return
    cuts = [rows.first, *range((rows.first // ring + 1) * ring, rows.end, ring), rows.end]
    yield from (Rows(a, b) for a, b in itertools.pairwise(cuts))
