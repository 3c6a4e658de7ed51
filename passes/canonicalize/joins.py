"""Laws of concat and pad, which make tensors larger."""

from dataclasses import replace

import numpy as np

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.movement import Concat, Pad, PadMode, Slice
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, kind_of, rule, same_type


@rule("concat(x) = x", Concat)
def concat_of_one(op: Op, rewriter: Rewriter) -> Replacement:
    return same_type(op, op.inputs[0]) if len(op.inputs) == 1 else None


@rule("concat(x, empty, y) = concat(x, y)", Concat)
def concat_of_empty(op: Op, rewriter: Rewriter) -> Replacement:
    axis = kind_of(op, Concat).axis
    parts = [part for part in op.inputs if part.type.dims[axis]]
    if not parts or len(parts) == len(op.inputs):
        return None
    return same_type(op, rewriter.emit(op.kind, *parts))


@rule("concat(concat(x, y), z) = concat(x, y, z)", Concat)
def merge_concats(op: Op, rewriter: Rewriter) -> Replacement:
    """Only of inner concats that nobody else reads: the others are there anyway."""
    kind = kind_of(op, Concat)
    parts: list[Value] = []
    for part in op.inputs:
        producer = rewriter.producer(part)
        if producer is not None and producer.kind == kind and rewriter.has_single_use(part):
            rewriter.match(part, Concat)
            parts += producer.inputs
        else:
            parts.append(part)
    if len(parts) == len(op.inputs):
        return None
    return same_type(op, rewriter.emit(kind, *parts))


@rule("concat(x[a:b], x[b:c]) = x[a:c]", Concat)
def join_adjacent_slices(op: Op, rewriter: Rewriter) -> Replacement:
    """What a split took apart; only slices of unit step along the axis."""
    axis = kind_of(op, Concat).axis
    parts: list[Value] = [op.inputs[0]]
    for part in op.inputs[1:]:
        joined = _joined(rewriter, parts[-1], part, axis)
        if joined is None:
            parts.append(part)
        else:
            parts[-1] = joined
    if len(parts) == len(op.inputs):
        return None
    return same_type(op, rewriter.emit(op.kind, *parts))


def _joined(rewriter: Rewriter, left: Value, right: Value, axis: int) -> Value | None:
    first, second = rewriter.producer(left), rewriter.producer(right)
    if first is None or second is None or first.operands != second.operands:
        return None
    if not (isinstance(first.kind, Slice) and isinstance(second.kind, Slice)):
        return None
    a, b = first.kind, second.kind
    end = a.starts[axis] + a.sizes[axis]
    elsewhere = [(*k.starts[:axis], *k.starts[axis + 1 :], *k.steps) for k in (a, b)]
    if a.steps[axis] != 1 or b.starts[axis] != end or elsewhere[0] != elsewhere[1]:
        return None
    rewriter.match(left, Slice)
    rewriter.match(right, Slice)
    sizes = (*a.sizes[:axis], a.sizes[axis] + b.sizes[axis], *a.sizes[axis + 1 :])
    return rewriter.emit(Slice(a.starts, sizes, a.steps), first.inputs[0])


@rule("pad(x, nothing) = x", Pad)
def pad_by_nothing(op: Op, rewriter: Rewriter) -> Replacement:
    return same_type(op, op.inputs[0])


@rule("pad(pad(x, a), b) = pad(x, a + b) where both fill with the same", Pad)
def merge_pads(op: Op, rewriter: Rewriter) -> Replacement:
    outer = kind_of(op, Pad)
    found = rewriter.match(op.inputs[0], Pad)
    if found is None:
        return None
    inner, producer = found
    if not (outer.mode is inner.mode is PadMode.CONSTANT):
        return None
    fills = [_fill_bits(op, rewriter), _fill_bits(producer, rewriter)]
    if None in fills or fills[0] != fills[1]:
        return None
    low = tuple(a + b for a, b in zip(inner.low, outer.low, strict=True))
    high = tuple(a + b for a, b in zip(inner.high, outer.high, strict=True))
    return (rewriter.emit(Pad(low, high), producer.inputs[0], *producer.operands[1:]),)


def _fill_bits(op: Op, rewriter: Rewriter) -> bytes | None:
    fill = op.operands[1] if len(op.operands) > 1 else None
    if fill is None:
        return bytes(op.result.type.dtype.numpy.itemsize)
    element = rewriter.uniform(fill)
    return None if element is None else element.tobytes()


@rule("conv(pad(x, 0)) = conv(x) with a wider window padding", Conv)
def pad_into_convolution(op: Op, rewriter: Rewriter) -> Replacement:
    """Of integers what is filled in must be the zero point."""
    kind = kind_of(op, Conv)
    found = rewriter.match(op.inputs[0], Pad)
    if found is None:
        return None
    pad, producer = found
    fill = _fill_bits(producer, rewriter)
    neutral = np.asarray(kind.zero_point).astype(op.inputs[0].type.dtype.numpy).tobytes()
    around = (pad.low[0], pad.low[-1], pad.high[0], pad.high[-1])
    if pad.mode is not PadMode.CONSTANT or fill != neutral or any(around):
        return None
    if min(kind.window.low + kind.window.high) < 0:
        return None
    window = Window(
        kind.window.size,
        kind.window.strides,
        kind.window.dilations,
        tuple(a + b for a, b in zip(kind.window.low, pad.low[1:-1], strict=True)),
        tuple(a + b for a, b in zip(kind.window.high, pad.high[1:-1], strict=True)),
    )
    padded = replace(kind, window=window)
    return same_type(op, rewriter.emit(padded, producer.inputs[0], *op.operands[1:]))


RULES: tuple[Rule, ...] = (
    concat_of_one,
    concat_of_empty,
    merge_concats,
    join_adjacent_slices,
    pad_by_nothing,
    merge_pads,
    pad_into_convolution,
)
