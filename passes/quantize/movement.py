"""Laws that carry Dequantize down and Quantize up through ops that only move or pick elements.

Quantization is monotonic and works element by element, so it commutes with movement, with maxima
and minima, and with clamping at the quantized bounds: all to the bit.
"""

import math

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.movement import Concat, Gather, Pad, PadMode, Slice
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.passes.quantize.parameters import (
    Dequantized,
    Quantized,
    compressed,
    dequantized,
    emit_dequantize,
    emit_or_fold,
    emit_quantize,
    narrow,
    quantized,
)
from lepton_cc.passes.quantize.signed import keeps_order


def _moves_one(kind: OpKind) -> bool:
    """True for ops that move the elements of their first operand only."""
    if isinstance(kind, Constant | Concat | Pad):
        return False
    return keeps_order(kind) and not isinstance(kind, Reduce | MaxPool)


@rule("move(dequantize(x)) = dequantize(move(x))", OpKind)
def dequantize_after_movement(op: Op, rewriter: Rewriter) -> Replacement:
    """Scales that vary move along."""
    if not _moves_one(op.kind) or len(op.results) != 1:
        return None
    found = dequantized(rewriter, op.operands[0])
    if found is None or found.x.type.dtype.bits > 16:
        return None
    scales, zero_points = found.scales, found.zero_points
    others = [rewriter.constant_array(v) for v in op.operands[1:]]
    if not found.is_per_tensor:
        if any(array is None for array in others):
            return None
        shape = found.x.type.dims
        scales, zero_points = (
            compressed(np.asarray(op.kind.evaluate((np.broadcast_to(array, shape), *others))[0]))
            for array in (scales, zero_points)
        )
        if scales.shape != zero_points.shape:
            shape = np.broadcast_shapes(scales.shape, zero_points.shape)
            scales, zero_points = (np.broadcast_to(a, shape) for a in (scales, zero_points))
        # The scales of blocks would be repeated for each element.
        if scales.size > found.scales.size:
            return None
    moved = emit_or_fold(rewriter, op.kind, found.x, *op.operands[1:])
    return (emit_dequantize(rewriter, moved, scales, zero_points),)


@rule("max(dequantize(x)) = dequantize(max(x)) over windows and axes; min alike", MaxPool, Reduce)
def dequantize_after_extreme(op: Op, rewriter: Rewriter) -> Replacement:
    if not keeps_order(op.kind) or op.inputs[0].type.num_elements == 0:
        return None
    found = narrow(rewriter, op.operands[0])
    if found is None:
        return None
    picked = rewriter.emit(op.kind, found.x)
    return (emit_dequantize(rewriter, picked, found.scales, found.zero_points),)


@rule("argmax(dequantize(x)) = argmax(x)", ArgReduce)
def argument_of_integers(op: Op, rewriter: Rewriter) -> Replacement:
    found = narrow(rewriter, op.operands[0])
    return None if found is None else (rewriter.emit(op.kind, found.x),)


@rule("concat(dequantize(x), dequantize(y)) = dequantize(concat(x, y)) of one scale", Concat)
def dequantize_after_concat(op: Op, rewriter: Rewriter) -> Replacement:
    parts = [narrow(rewriter, value) for value in op.operands]
    present = [part for part in parts if part is not None]
    if len(present) != len(parts):
        return None
    first = present[0]
    if any(_key(part) != _key(first) for part in present):
        return None
    joined = rewriter.emit(op.kind, *(part.x for part in present))
    return (emit_dequantize(rewriter, joined, first.scales, first.zero_points),)


def _key(part: Dequantized) -> tuple[DType, float, int]:
    return part.x.type.dtype, float(part.scale), part.zero_point


@rule("pad(dequantize(x), c) = dequantize(pad(x, c in steps)) where c is a whole step", Pad)
def dequantize_after_pad(op: Op, rewriter: Rewriter) -> Replacement:
    found = narrow(rewriter, op.operands[0])
    if found is None or not isinstance(op.kind, Pad):
        return None
    operands = [found.x]
    if op.kind.mode is PadMode.CONSTANT:
        fill = _fill(op, rewriter)
        step = None if fill is None else _whole_step(found, fill)
        if step is None:
            return None
        typed = np.asarray(step).astype(found.x.type.dtype.numpy)
        operands.append(rewriter.constant(typed, name="fill"))
    padded = rewriter.emit(op.kind, *operands)
    return (emit_dequantize(rewriter, padded, found.scales, found.zero_points),)


def _fill(op: Op, rewriter: Rewriter) -> float | None:
    value = op.operands[1] if len(op.operands) > 1 else None
    if value is None:
        return 0.0
    array = rewriter.constant_array(value)
    return None if array is None else float(array.reshape(()))


def _whole_step(found: Dequantized, real: float) -> int | None:
    """The integer that stands for exactly this number."""
    if not math.isfinite(real):
        return None
    step = round(real / float(found.scale))
    low, high = integer_bounds(found.x.type.dtype)
    if not low <= step + found.zero_point <= high:
        return None
    return step + found.zero_point if np.float32(step) * found.scale == np.float32(real) else None


@rule("clamp(dequantize(x), a, b) = dequantize(clamp(x, a, b in steps)) of whole steps", Clamp)
def dequantize_after_clamp(op: Op, rewriter: Rewriter) -> Replacement:
    found = narrow(rewriter, op.operands[0])
    if found is None or not isinstance(op.kind, Clamp):
        return None
    bounds = [
        bound if math.isinf(bound) else _whole_step(found, bound)
        for bound in (op.kind.low, op.kind.high)
    ]
    low, high = bounds
    if low is None or high is None:
        return None
    clamped = rewriter.emit(Clamp(float(low), float(high)), found.x)
    return (emit_dequantize(rewriter, clamped, found.scales, found.zero_points),)


@rule("quantize(move(x)) = move(quantize(x)); max, min and concat alike", Quantize)
def quantize_before_movement(op: Op, rewriter: Rewriter) -> Replacement:
    by = quantized(rewriter, op)
    producer = None if by is None else rewriter.producer(by.real)
    if by is None or producer is None or not _may_quantize_before(producer, rewriter):
        return None
    kind = producer.kind
    rewriter.match(by.real, OpKind)
    if isinstance(kind, Concat):
        return (rewriter.emit(kind, *(emit_quantize(rewriter, v, by) for v in producer.inputs)),)
    operands: list[Value | None] = [emit_quantize(rewriter, producer.inputs[0], by)]
    if isinstance(kind, Pad) and kind.mode is PadMode.CONSTANT:
        fill = _fill(producer, rewriter)
        if fill is None:
            return None
        typed = np.asarray(by.integer(fill)).astype(by.range.dtype.numpy)
        operands.append(rewriter.constant(typed, name="fill"))
    else:
        operands += producer.operands[1:]
    return (rewriter.emit(kind, *operands),)


def _may_quantize_before(producer: Op, rewriter: Rewriter) -> bool:
    kind = producer.kind
    if isinstance(kind, Constant) or len(producer.results) != 1 or not keeps_order(kind):
        return False
    source = rewriter.producer(producer.inputs[0])
    if isinstance(kind, Slice | Gather):
        # Quantizing what is then left out costs more than it saves.
        return source is not None and rewriter.has_single_use(producer.inputs[0])
    return Trait.MOVEMENT in kind.traits or producer.inputs[0].type.num_elements > 0


@rule("quantize(clamp(x, a, b)) = clamp(quantize(x), quantize(a), quantize(b))", Quantize)
def quantize_before_clamp(op: Op, rewriter: Rewriter) -> Replacement:
    """Where the bounds enclose the zero point, which NaN becomes."""
    by = quantized(rewriter, op)
    producer = None if by is None else rewriter.producer(by.real)
    if by is None or producer is None or not isinstance(producer.kind, Clamp):
        return None
    bounds = _quantized_bounds(by, producer.kind)
    if bounds is None:
        return None
    rewriter.match(by.real, Clamp)
    return (rewriter.emit(bounds, emit_quantize(rewriter, producer.inputs[0], by)),)


def _quantized_bounds(by: Quantized, clamp: Clamp) -> Clamp | None:
    if math.isnan(clamp.low) or math.isnan(clamp.high) or clamp.low > clamp.high:
        return None
    low, high = by.integer(clamp.low), by.integer(clamp.high)
    if not low <= by.range.zero_point <= high:
        return None
    return Clamp(
        float(low) if low > by.range.low else -math.inf,
        float(high) if high < by.range.high else math.inf,
    )


DEQUANTIZE_DOWN: tuple[Rule, ...] = (
    dequantize_after_movement,
    dequantize_after_extreme,
    argument_of_integers,
    dequantize_after_concat,
    dequantize_after_pad,
    dequantize_after_clamp,
)
QUANTIZE_UP: tuple[Rule, ...] = (quantize_before_movement, quantize_before_clamp)
