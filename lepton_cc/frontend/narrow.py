"""8-bit operands and results of integer operators, as the signed integers that contractions take.

Unsigned integers are shifted by 128 together with their zero point, which changes no difference.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer import Range, Requantize
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.tensor import Array

_TOP_BIT = -128
_BYTES = (DType.I8, DType.U8)


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand of a contraction: the integers count as their difference to the zero point."""

    value: Value
    zero_point: int = 0


def as_signed(node: NodeView, x: Value) -> Value:
    """x - 128 as i8, of a u8 tensor: its top bit flipped."""
    return node.binary(BinaryFunction.XOR, node.emit(Cast(DType.I8), x), _TOP_BIT)


def as_unsigned(node: NodeView, x: Value) -> Value:
    """x + 128 as u8, of an i8 tensor."""
    return node.emit(Cast(DType.U8), node.binary(BinaryFunction.XOR, x, _TOP_BIT))


def known_integer(node: NodeView, value: Value | None) -> int | None:
    """The one number that a parameter holds (0 for an absent one); None if it is not known."""
    if value is None:
        return 0
    array = node.content(value)
    if array is None or array.size == 0 or np.any(array != array.reshape(-1)[0]):
        return None
    return int(array.reshape(-1)[0])


def activation(node: NodeView, x: Value, zero_point: Value | None) -> Operand:
    """A tensor with its zero point; with differences in i16 if that is not known, or not one."""
    known = known_integer(node, zero_point)
    if known is None or x.type.dtype not in _BYTES:
        return Operand(differences(node, x, zero_point))
    if x.type.dtype is DType.U8:
        return Operand(as_signed(node, x), known + _TOP_BIT)
    return Operand(x, known)


def weights(node: NodeView, x: Value, zero_point: Value | None) -> Value:
    """The differences to the zero point: of constants in the narrowest type."""
    array = node.content(x)
    offset = None if zero_point is None else node.content(zero_point)
    if array is None or (zero_point is not None and offset is None):
        return (
            x
            if x.type.dtype is DType.I8 and zero_point is None
            else differences(node, x, zero_point)
        )
    return node.constant_value(_narrowest(array, np.zeros((), int) if offset is None else offset))


def _narrowest(array: Array, offset: Array) -> Array:
    """array - offset in i8, or in i16 where that is too small; of 16 bits in i32."""
    exact = np.asarray(array.astype(np.int64) - offset.astype(np.int64))
    for dtype in (DType.I8, DType.I16):
        low, high = integer_bounds(dtype)
        if low <= exact.min(initial=0) and exact.max(initial=0) <= high:
            return exact.astype(dtype.numpy)
    return exact.astype(np.int32)


def differences(node: NodeView, x: Value, zero_point: Value | None) -> Value:
    """The integers x - zero_point, of 8-bit tensors in i16, else in i32; zero points broadcast."""
    dtype = DType.I16 if x.type.dtype in _BYTES else DType.I32
    wide = node.emit_folded(Cast(dtype), x)
    if zero_point is None:
        return wide
    offset = node.emit_folded(Cast(dtype), zero_point)
    return node.emit_folded(Binary(BinaryFunction.SUB), wide, offset)


def requantize(node: NodeView, total: Value, multiplier: Value, zero_point: Value) -> Value | None:
    """An accumulator scaled back to 8 bits; None if the zero point is not known."""
    known, dtype = known_integer(node, zero_point), zero_point.type.dtype
    if known is None or dtype not in _BYTES or multiplier.type.dtype is not DType.F32:
        return None
    if dtype is DType.I8:
        return node.emit(Requantize(Range.whole(DType.I8, known)), total, multiplier)
    shifted = Requantize(Range.whole(DType.I8, known + _TOP_BIT))
    return as_unsigned(node, node.emit(shifted, total, multiplier))
