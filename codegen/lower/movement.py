"""Lowering of movement ops as sources: the element of the operand at a computed index."""

from collections.abc import Callable, Mapping

from lepton_cc.codegen.kernel.expr import Const, Expr, index, maximum, minimum, select
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.source import Index, Source, linearize, reshaped
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.movement import (
    Broadcast,
    Concat,
    Gather,
    Pad,
    PadMode,
    Reshape,
    Slice,
    Transpose,
)
from lepton_cc.ir.types import TensorType


def clamp_index(i: Expr, size: int) -> Expr:
    """i limited to [0, size): reads at it stay inside whatever i is."""
    return minimum(maximum(i, 0), size - 1)


def _reshape(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    (x,) = sources
    if x.linear is None and x.type.num_elements > 1:
        return Source(result, lambda at: x.at(reshaped(at, result.dims, x.type.dims)))
    return Source(result, lambda at: x.at_linear(linearize(at, result.dims)), x.at_linear)


def _transpose(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    assert isinstance(kind, Transpose)
    (x,) = sources
    inverse = [kind.permutation.index(axis) for axis in range(result.rank)]
    return Source(result, lambda at: x.at(tuple(at[axis] for axis in inverse)))


def _broadcast(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    (x,) = sources
    return Source(result, x.broadcast_at)


def _slice(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    assert isinstance(kind, Slice)
    (x,) = sources

    def at(i: Index) -> Expr:
        moved = zip(i, kind.starts, kind.steps, strict=True)
        return x.at(tuple(p * step + start for p, start, step in moved))

    return Source(result, at)


def _concat(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    assert isinstance(kind, Concat)
    axis = kind.axis

    def at(i: Index) -> Expr:
        begin = 0
        chosen: Expr | None = None
        for part in sources:
            size = part.type.dims[axis]
            if size == 0:
                continue
            own = clamp_index(i[axis] - begin, size)
            value = part.at((*i[:axis], own, *i[axis + 1 :]))
            chosen = value if chosen is None else select(i[axis] < begin, chosen, value)
            begin += size
        assert chosen is not None
        return chosen

    return Source(result, at)


def _mirrored(i: Expr, size: int) -> Expr:
    period = max(2 * (size - 1), 1)
    inside = (i % period + period) % period
    return minimum(inside, (inside * -1) + period) if size > 1 else index(0)


_OUTSIDE: Mapping[PadMode, Callable[[Expr, int], Expr]] = {
    PadMode.EDGE: clamp_index,
    PadMode.REFLECT: _mirrored,
    PadMode.WRAP: lambda i, size: (i % size + size) % size,
    PadMode.CONSTANT: clamp_index,
}


def _pad(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    assert isinstance(kind, Pad)
    x = sources[0]

    def at(i: Index) -> Expr:
        own: list[Expr] = []
        outside: Expr | None = None
        for position, low, high, dim in zip(i, kind.low, kind.high, x.type.dims, strict=True):
            if not low and not high:
                own.append(position)
                continue
            moved = position - low
            own.append(_OUTSIDE[kind.mode](moved, dim))
            for beyond in ([moved < 0] if low else []) + ([moved >= dim] if high else []):
                outside = beyond if outside is None else outside | beyond
        value = x.at(tuple(own))
        if kind.mode is not PadMode.CONSTANT or outside is None:
            return value
        fill = sources[1].at_linear(index(0)) if len(sources) > 1 else Const(value.type, 0)
        return select(outside, fill, value)

    return Source(result, at)


def _gather(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    assert isinstance(kind, Gather)
    x, indices = sources
    axis, size = kind.axis, x.type.dims[kind.axis]
    known = indices.content
    plain = known is not None and known.size > 0 and known.min() >= 0 and known.max() < size

    def at(i: Index) -> Expr:
        chosen = indices.at(i[axis : axis + indices.type.rank]).cast(INDEX)
        if not plain:
            chosen = clamp_index(select(chosen < 0, chosen + size, chosen), size)
        return x.at((*i[:axis], chosen, *i[axis + indices.type.rank :]))

    return Source(result, at)


MOVEMENT_SOURCES: Mapping[
    type[OpKind], Callable[[OpKind, tuple[Source, ...], TensorType], Source]
] = {
    Reshape: _reshape,
    Transpose: _transpose,
    Broadcast: _broadcast,
    Slice: _slice,
    Concat: _concat,
    Pad: _pad,
    Gather: _gather,
}
