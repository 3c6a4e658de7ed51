"""4-bit activations are computed as 8-bit ones whose bounds are those of 4 bits.

They take a byte each in memory either way; the laws for 8 bits then serve them, tables and softmax
among them. Graph inputs and outputs keep their types, and so do weights.
"""

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.elementwise import Cast, Clamp
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, QuantizedSoftmax, Requantize
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule

_FOUR_BITS = (DType.I4, DType.U4)
_BOUNDED = QuantizedAdd | QuantizedMul | QuantizedNorm | QuantizedSoftmax | Requantize


def _parameters(rewriter: Rewriter, op: Op) -> tuple[Value, ...] | None:
    """Scale and zero point, the latter as i8; None if it is not known."""
    value = op.operands[2] if len(op.operands) > 2 else None
    if value is None:
        return (op.inputs[1],)
    array = rewriter.constant_array(value)
    if array is None:
        return None
    return op.inputs[1], rewriter.constant(array.astype(np.int8), name=value.name)


@rule("dequantize_i4(x) = dequantize_i8(x)", Dequantize)
def dequantize_bytes(op: Op, rewriter: Rewriter) -> Replacement:
    x = op.inputs[0]
    if x.type.dtype not in _FOUR_BITS or rewriter.constant_array(x) is not None:
        return None
    parameters = _parameters(rewriter, op)
    if parameters is None:
        return None
    return (rewriter.emit(op.kind, rewriter.emit(Cast(DType.I8), x), *parameters),)


@rule("quantize_i4(x) = clamp(quantize_i8(x), bounds of 4 bits)", Quantize)
def quantize_bytes(op: Op, rewriter: Rewriter) -> Replacement:
    dtype = op.result.type.dtype
    parameters = _parameters(rewriter, op) if dtype in _FOUR_BITS else None
    if parameters is None:
        return None
    y = rewriter.emit(Quantize(DType.I8), op.inputs[0], *parameters)
    low, high = integer_bounds(dtype)
    return (rewriter.emit(Cast(dtype), rewriter.emit(Clamp(float(low), float(high)), y)),)


@rule("i8(i4(x)) = x, of x within 4 bits", Cast)
def cast_back(op: Op, rewriter: Rewriter) -> Replacement:
    inner = rewriter.producer(op.inputs[0])
    if inner is None or not isinstance(inner.kind, Cast) or op.kind != Cast(DType.I8):
        return None
    x, dtype = inner.inputs[0], inner.result.type.dtype
    if dtype not in _FOUR_BITS or x.type != op.result.type:
        return None
    bounds, (low, high) = _bounds(rewriter, x), integer_bounds(dtype)
    return (x,) if bounds is not None and low <= bounds[0] and bounds[1] <= high else None


def _bounds(rewriter: Rewriter, value: Value) -> tuple[float, float] | None:
    """What a value cannot leave, if its producer says so."""
    op = rewriter.producer(value)
    while op is not None and Trait.MOVEMENT in op.kind.traits and len(op.inputs) == 1:
        op = rewriter.producer(op.inputs[0])
    if op is None:
        return None
    if isinstance(op.kind, Clamp):
        return op.kind.low, op.kind.high
    return (op.kind.range.low, op.kind.range.high) if isinstance(op.kind, _BOUNDED) else None


RULES: tuple[Rule, ...] = (dequantize_bytes, quantize_bytes, cast_back)
