"""Requantizing, adding, subtracting and multiplying: from reals between integers to integer ops."""

from dataclasses import replace

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, QuantizedSoftmax, Requantize
from lepton_cc.ir.ops.movement import Reshape, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.passes.quantize.accumulator_bound import LIMIT, largest_magnitude
from lepton_cc.passes.quantize.parameters import Dequantized, dequantized, narrow, quantized
from lepton_cc.passes.quantize.signed import as_unsigned

_ADDITIVE = (BinaryFunction.ADD, BinaryFunction.SUB)


@rule("quantize(dequantize(x, s, z), t) = requantize(x, s / t, z)", Quantize)
def requantize(op: Op, rewriter: Rewriter) -> Replacement:
    """scale = f32(s / t); of accumulators s is f32(x_scale * w_scale)."""
    if op.result.type.dtype is DType.U8:
        return None
    by = quantized(rewriter, op)
    found = None if by is None else dequantized(rewriter, by.real)
    if by is None or found is None or np.any(found.zero_points != found.zero_points.flat[0]):
        return None
    if found.x.type.dtype.bits > 32 or found.x.type.dtype is DType.U32:
        return None
    if (
        found.is_per_tensor
        and found.x.type.dtype is by.range.dtype
        and (found.scale, found.zero_point) == (by.scale, by.range.zero_point)
    ):
        return (found.x,)
    scale = rewriter.constant(np.asarray(found.scales / by.scale, np.float32), name="scale")
    zero_point = int(found.zero_points.flat[0])
    rewriter.match(found.x, OpKind)
    return (rewriter.emit(Requantize(by.range, zero_point), found.x, scale),)


@rule("quantize(dequantize(x) + dequantize(y)) = quantized_add(x, y)", Quantize)
def add(op: Op, rewriter: Rewriter) -> Replacement:
    """A subtraction adds with the scale negated.

    Its roundings depend on the stored integers, so that sums of unsigned ones stay unsigned; and
    on their order: as in ONNX Runtime the operand that is repeated innermost comes second.
    """
    by = quantized(rewriter, op)
    found = None if by is None else rewriter.match(by.real, Binary)
    if by is None or found is None or found[0].function not in _ADDITIVE:
        return None
    lhs, rhs = (narrow(rewriter, v) for v in found[1].inputs)
    if lhs is None or rhs is None:
        return None
    if by.range.dtype is DType.U8:
        lhs, rhs = (_unsigned(rewriter, side) for side in (lhs, rhs))
    if found[0].function is BinaryFunction.SUB:
        rhs = replace(rhs, scales=-rhs.scales)
    if _is_repeated_innermost(lhs.x, op.result):
        lhs, rhs = rhs, lhs
    sides = [(float(side.scale), side.zero_point) for side in (lhs, rhs)]
    kind = QuantizedAdd.of(sides[0], sides[1], float(by.scale), by.range)
    return (rewriter.emit(kind, lhs.x, rhs.x),)


def _is_repeated_innermost(operand: Value, result: Value) -> bool:
    """True if one element of the operand meets all those of the result's last dimension."""
    dims = result.type.dims
    padded = (1,) * (len(dims) - operand.type.rank) + operand.type.dims
    inner = next((axis for axis in reversed(range(len(dims))) if dims[axis] != 1), None)
    return inner is not None and padded[inner] == 1


def _unsigned(rewriter: Rewriter, side: Dequantized) -> Dequantized:
    """The same reals by u8 integers, if they are i8 ones."""
    if side.x.type.dtype is not DType.I8:
        return side
    x = as_unsigned(rewriter, side.x)
    return Dequantized(x, side.scales, side.zero_points + 128)


@rule("quantize(dequantize(x) * dequantize(y)) = quantized_mul(x, y)", Quantize)
def multiply(op: Op, rewriter: Rewriter) -> Replacement:
    by = quantized(rewriter, op)
    found = None if by is None else rewriter.match(by.real, Binary)
    if by is None or found is None or found[0].function is not BinaryFunction.MUL:
        return None
    lhs, rhs = (narrow(rewriter, v) for v in found[1].inputs)
    if lhs is None or rhs is None:
        return None
    scale = lhs.scale * rhs.scale / by.scale
    largest = [largest_magnitude(side.x.type.dtype, side.zero_point) for side in (lhs, rhs)]
    if largest[0] * largest[1] >= LIMIT:
        product = _wide_product(rewriter, lhs, rhs)
        factor = rewriter.constant(np.asarray(scale, np.float32), name="scale")
        return (rewriter.emit(Requantize(by.range), product, factor),)
    kind = QuantizedMul(lhs.zero_point, rhs.zero_point, float(scale), by.range)
    return (rewriter.emit(kind, lhs.x, rhs.x),)


def _wide_product(rewriter: Rewriter, lhs: Dequantized, rhs: Dequantized) -> Value:
    """(lhs - its zero point) * (rhs - its zero point) in i64."""
    differences = []
    for side in (lhs, rhs):
        wide = rewriter.emit(Cast(DType.I64), side.x)
        point = rewriter.constant(np.asarray(side.zero_point, np.int64), name="zero_point")
        differences.append(rewriter.emit(Binary(BinaryFunction.SUB), wide, point))
    return rewriter.emit(Binary(BinaryFunction.MUL), *differences)


@rule("clamp(integer op with bounds) = integer op with narrower bounds", Clamp)
def narrow_bounds(op: Op, rewriter: Rewriter) -> Replacement:
    """Of a requantization, sum, product or softmax that only the clamp reads."""
    (x,) = op.inputs
    producer = rewriter.producer(x)
    if producer is None or not isinstance(op.kind, Clamp) or not rewriter.has_single_use(x):
        return None
    kind = producer.kind
    if not isinstance(kind, Requantize | QuantizedAdd | QuantizedMul | QuantizedSoftmax):
        return None
    low = int(max(op.kind.low, kind.range.low))
    high = int(min(op.kind.high, kind.range.high))
    if low > high:
        return None
    rewriter.match(x, type(kind))
    bounded = replace(kind, range=replace(kind.range, low=low, high=high))
    return (rewriter.emit(bounded, *producer.operands),)


@rule("clamp(move(x)) = move(clamp(x)) of integers", Clamp)
def clamp_before_movement(op: Op, rewriter: Rewriter) -> Replacement:
    """So that bounds reach the op that they narrow."""
    producer = rewriter.producer(op.inputs[0])
    if producer is None or not isinstance(producer.kind, Transpose | Reshape):
        return None
    if not op.result.type.dtype.is_integer or not rewriter.has_single_use(producer.result):
        return None
    return (rewriter.emit(producer.kind, rewriter.emit(op.kind, producer.inputs[0])),)


RULES: tuple[Rule, ...] = (requantize, add, multiply, narrow_bounds, clamp_before_movement)
