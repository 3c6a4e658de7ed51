"""Contractions of 16-bit tensors whose sums could leave 32 bits: bytes apart, then 64 bits.

x = 256 high + low, so that the sum over x is 256 times that over the high bytes plus that over the
low ones; each is a contraction of i8 with its own zero point, proved to fit i32.
"""

from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer import Requantize
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.accumulator_bound import (
    LIMIT,
    Contraction,
    Integers,
    accumulator_bound,
)
from lepton_cc.passes.quantize.contractions import (
    bias_in_steps,
    constant_weights,
    product_step,
)
from lepton_cc.passes.quantize.parameters import Dequantized, narrow, quantized

_WORDS = (DType.I16, DType.U16)
_BYTE = 8


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor of integers times 2^shift; `content` is what the accumulator's bound asks."""

    x: Value
    content: Array | Integers
    zero_point: int
    shift: int


def _bytes(rewriter: Rewriter, found: Dequantized) -> tuple[_Part, ...]:
    """The high and the low bytes of a 16-bit tensor, both as i8; others as they are."""
    x, zero_point = found.x, found.zero_point
    if x.type.dtype not in _WORDS:
        return (_Part(x, Integers.of(x.type), zero_point, 0),)
    if x.type.dtype is DType.U16:
        top = rewriter.constant(np.asarray(-(1 << 15), np.int16))
        wrapped = rewriter.emit(Cast(DType.I16), x)
        x = rewriter.emit(Binary(BinaryFunction.XOR), wrapped, top)
        zero_point -= 1 << 15
    eight = rewriter.constant(np.asarray(_BYTE, np.int16))
    shifted = rewriter.emit(Binary(BinaryFunction.SHIFT_RIGHT), x, eight)
    high = rewriter.emit(Cast(DType.I8), shifted, name="high")
    top_bit = rewriter.constant(np.asarray(-(1 << 7), np.int8))
    lowest = rewriter.emit(Cast(DType.I8), x)
    low = rewriter.emit(Binary(BinaryFunction.XOR), lowest, top_bit, name="low")
    points = zero_point >> _BYTE, (zero_point & 255) - (1 << 7)
    return (
        _Part(high, Integers.of(high.type), points[0], _BYTE),
        _Part(low, Integers.of(low.type), points[1], 0),
    )


@rule("quantize(contraction of 16 bits) = requantize(256 high part + low part)", Quantize)
def contraction_of_words(op: Op, rewriter: Rewriter) -> Replacement:
    """Where no single i32 accumulator is proved to do; its rule has come first."""
    by = quantized(rewriter, op)
    producer = None if by is None else rewriter.producer(by.real)
    if by is None or by.range.dtype is DType.U8 or producer is None:
        return None
    kind = producer.kind
    if not isinstance(kind, Conv | ConvTranspose | MatMul):
        return None
    found = narrow(rewriter, producer.operands[0])
    if found is None or found.x.type.dtype not in _WORDS or found.x.type.num_elements == 0:
        return None
    second = _second_parts(rewriter, producer, kind)
    if second is None:
        return None
    weights, scales = second
    step = product_step(found.scale, scales)
    bias_value = producer.operands[2] if len(producer.operands) > 2 else None
    bias = None if bias_value is None else bias_in_steps(rewriter, bias_value, step)
    if bias_value is not None and bias is None:
        return None
    total = _total(rewriter, kind, (_bytes(rewriter, found), weights), bias)
    if total is None:
        return None
    rewriter.match(by.real, OpKind)
    scale = rewriter.constant(np.asarray(step / by.scale, np.float32), name="scale")
    return (rewriter.emit(Requantize(by.range), total, scale),)


def _second_parts(
    rewriter: Rewriter, producer: Op, kind: Contraction
) -> tuple[tuple[_Part, ...], Array] | None:
    """The second operand in parts, and its scales."""
    constant = constant_weights(rewriter, producer.inputs[1], kind)
    if constant is not None:
        value = rewriter.constant(constant.integers, name=producer.inputs[1].name)
        return (_Part(value, constant.integers, 0, 0),), constant.scales
    found = narrow(rewriter, producer.inputs[1]) if isinstance(kind, MatMul) else None
    return None if found is None else (_bytes(rewriter, found), found.scales)


def _total(
    rewriter: Rewriter,
    kind: Contraction,
    factors: tuple[tuple[_Part, ...], tuple[_Part, ...]],
    bias: Array | None,
) -> Value | None:
    """The sum of all products of parts, in i64; None if one of them could leave i32."""
    total: Value | None = None
    for x in factors[0]:
        for weights in factors[1]:
            shift = x.shift + weights.shift
            offsets = bias if shift == 0 else None
            part = _with_zero_points(kind, x.zero_point, weights.zero_point)
            content = x.content
            assert isinstance(content, Integers)
            if accumulator_bound(part, content, weights.content, offsets) >= LIMIT:
                return None
            operands = [x.x, weights.x]
            if offsets is not None:
                operands.append(rewriter.constant(offsets, name="bias"))
            product = rewriter.emit(part, *operands, name="accumulator")
            wide = rewriter.emit(Cast(DType.I64), product)
            if shift:
                factor = rewriter.constant(np.asarray(1 << shift, np.int64))
                wide = rewriter.emit(Binary(BinaryFunction.MUL), wide, factor)
            if total is not None:
                wide = rewriter.emit(Binary(BinaryFunction.ADD), total, wide)
            total = wide
    return total


def _with_zero_points(kind: Contraction, x: int, weights: int) -> Contraction:
    if isinstance(kind, MatMul):
        return replace(kind, lhs_zero_point=x, rhs_zero_point=weights)
    return replace(kind, zero_point=x)


RULES: tuple[Rule, ...] = (contraction_of_words,)
