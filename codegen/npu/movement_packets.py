"""DMA packets of movement: copies of maps, and transposes, pads and concats that are no views."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.convolution_packet import PlacedMap
from lepton_cc.codegen.npu.index_nests import IndexNest, index_nests
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address
from lepton_cc.codegen.npu.layers import MoveLayer
from lepton_cc.codegen.npu.layout import MapLayout
from lepton_cc.codegen.npu.tasks import Rows
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat, Gather, Pad, Reshape, Slice, Transpose

_LOOPS = 3


@dataclass(frozen=True, slots=True)
class Loop:
    """`count` iterations that move the source and the target by so many bytes."""

    count: int
    source_stride: int
    target_stride: int


def map_copy(source: PlacedMap, target: PlacedMap, rows: Rows) -> Iterator[Packet]:
    """Rows of a map from one layout to another of the same shape."""
    shape = source.layout.shape
    loops = (
        Loop(rows.count, source.layout.row_stride, target.layout.row_stride),
        Loop(shape.width, source.layout.pixel_stride, target.layout.pixel_stride),
        Loop(shape.channels, 1, 1),
    )
    yield from strided_copy(source.row(rows.first), target.row(rows.first), loops)


def strided_copy(
    source: Address, target: Address, loops: Sequence[Loop], fill: int | None = None
) -> Iterator[Packet]:
    """Single bytes in nested loops, outermost first, as DMA packets of three loops and a run."""
    run, inner = _merged([loop for loop in loops if loop.count != 1])
    outer, innermost = inner[: max(len(inner) - _LOOPS, 0)], inner[max(len(inner) - _LOOPS, 0) :]
    padded = [*innermost[::-1], *[Loop(1, 0, 0)] * _LOOPS][:_LOOPS]
    for index in itertools.product(*(range(loop.count) for loop in outer)):
        read = sum(i * loop.source_stride for i, loop in zip(index, outer, strict=True))
        written = sum(i * loop.target_stride for i, loop in zip(index, outer, strict=True))
        fields: dict[str, FieldValue] = {
            "source": source.plus(read) if fill is None else target,
            "target": target.plus(written),
            "run_bytes": run,
        }
        for number, loop in enumerate(padded, 1):
            fields[f"count{number}"] = loop.count
            fields[f"source_stride{number}"] = loop.source_stride if fill is None else 0
            fields[f"target_stride{number}"] = loop.target_stride
        if fill is not None:
            fields |= {"fill": 1, "fill_byte": fill & 0xFF}
        yield Packet(Opcode.DMA, fields)


def _merged(loops: Sequence[Loop]) -> tuple[int, list[Loop]]:
    """The contiguous run, and the loops left, neighbours that continue each other being one."""
    remaining = list(loops)
    run = 1
    if remaining and remaining[-1].source_stride == remaining[-1].target_stride == 1:
        run = remaining.pop().count
        while remaining and remaining[-1].source_stride == remaining[-1].target_stride == run:
            run *= remaining.pop().count
    joined: list[Loop] = []
    for loop in remaining:
        if joined:
            above = joined[-1]
            whole = (loop.count * loop.source_stride, loop.count * loop.target_stride)
            if (above.source_stride, above.target_stride) == whole:
                joined[-1] = Loop(above.count * loop.count, loop.source_stride, loop.target_stride)
                continue
        joined.append(loop)
    return run, joined


def copy_packets(layer: MoveLayer, placed: Callable[[Value], PlacedMap]) -> Iterator[Packet]:
    """The packets of a movement layer."""
    kind = layer.op.kind
    target = placed(layer.result)
    target_strides = type_strides(layer.result, target.layout)
    if isinstance(kind, Concat):
        yield from _concat(layer, kind, placed, target, target_strides)
        return
    source = placed(layer.inputs[0])
    strides = type_strides(layer.inputs[0], source.layout)
    start = source.start
    goal = target.start
    dims = layer.result.type.dims
    match kind:
        case Transpose():
            read = tuple(strides[axis] for axis in kind.permutation)
        case Slice():
            start = start.plus(sum(s * a for s, a in zip(strides, kind.starts, strict=True)))
            read = tuple(s * step for s, step in zip(strides, kind.steps, strict=True))
        case Pad():
            yield from strided_copy(
                goal, goal, _loops(dims, target_strides, target_strides), layer.fill
            )
            offset = sum(s * low for s, low in zip(target_strides, kind.low, strict=True))
            goal, read, dims = goal.plus(offset), strides, layer.inputs[0].type.dims
        case Reshape():
            yield from _reshape(layer, source, target)
            return
        case Gather():
            for nest in index_nests(layer.indices):
                loops = _gather_loops(kind.axis, nest, layer.inputs[0], strides, target_strides)
                read_from = start.plus(nest.first * strides[kind.axis])
                write_to = goal.plus(nest.position * target_strides[kind.axis])
                yield from strided_copy(read_from, write_to, loops)
            return
        case _:
            raise InternalError(f"no copy for {kind.mnemonic}")
    yield from strided_copy(start, goal, _loops(dims, read, target_strides))


def _loops(dims: Sequence[int], read: Sequence[int], written: Sequence[int]) -> list[Loop]:
    return [Loop(*fields) for fields in zip(dims, read, written, strict=True)]


def _gather_loops(
    axis: int, nest: IndexNest, x: Value, read: Sequence[int], written: Sequence[int]
) -> list[Loop]:
    """The loops over x's dimensions, with those of the nest in place of the axis."""
    loops = _loops(x.type.dims, read, written)
    indexed = [
        Loop(nest.outer_count, nest.outer_step * read[axis], nest.inner_count * written[axis]),
        Loop(nest.inner_count, nest.inner_step * read[axis], written[axis]),
    ]
    return [*loops[:axis], *indexed, *loops[axis + 1 :]]


def _concat(
    layer: MoveLayer,
    kind: Concat,
    placed: Callable[[Value], PlacedMap],
    target: PlacedMap,
    strides: tuple[int, ...],
) -> Iterator[Packet]:
    """Copies the operands that were not written in place."""
    start = 0
    for part in layer.inputs:
        source = placed(part)
        goal = target.start.plus(start * strides[kind.axis])
        begin = source.start
        if source.layout.buffer != target.layout.buffer or begin != goal:
            read = type_strides(part, source.layout)
            yield from strided_copy(begin, goal, _loops(part.type.dims, read, strides))
        start += part.type.dims[kind.axis]


def _reshape(layer: MoveLayer, source: PlacedMap, target: PlacedMap) -> Iterator[Packet]:
    """Between two layouts of which one is dense, in the other's order of elements."""
    sparse = source if target.layout.is_dense else target
    value = layer.inputs[0] if sparse is source else layer.result
    if not (source.layout.is_dense or target.layout.is_dense):
        raise InternalError(f"reshape {layer.location} between two strided layouts")
    dims = value.type.dims
    dense = _dense_strides(dims)
    strides = type_strides(value, sparse.layout)
    read, written = (strides, dense) if sparse is source else (dense, strides)
    begin = source.start
    goal = target.start
    yield from strided_copy(begin, goal, _loops(dims, read, written))


def _dense_strides(dims: Sequence[int]) -> tuple[int, ...]:
    strides = [1]
    for dim in reversed(dims[1:]):
        strides.append(strides[-1] * dim)
    return tuple(reversed(strides))


def type_strides(value: Value, layout: MapLayout) -> tuple[int, ...]:
    """Bytes a step of each dimension of the value's type."""
    dims = value.type.dims
    if layout.is_dense:
        return _dense_strides(dims)
    if len(dims) == 3 and dims[0] == 1:
        return (0, layout.row_stride, 1)
    strides = [1, layout.pixel_stride][: len(dims)]
    rows = layout.row_stride
    for dim in reversed(dims[1:-2]):
        strides.append(rows)
        rows *= dim
    if len(dims) > 2:
        strides.append(rows)
    return tuple(reversed(strides))
