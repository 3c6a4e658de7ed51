"""Requantization and exact multiply-adds, for targets with and without floating point.

The two forms of `rounded_product` give the same bits: docs/numerics.md, "Requantization".
"""

from lepton_cc.codegen.kernel.expr import Const, Expr, maximum, minimum, select
from lepton_cc.codegen.kernel.math.significant import significant
from lepton_cc.ir.dtype import DType

# Adding 1.5 * 2^23 leaves an integer in the low bits of a binary32, rounded half to even.
_ROUNDER = 12582912.0
_ROUNDER_BITS = 0x4B400000
_MANTISSA_BITS = 23
# The encoded exponent of 0.5 to 1.
_EXPONENT_BELOW_ONE = 126
_MAX_SHIFT = 31
# Sums wider than 32 bits stay below 2^48.
_WIDE_BITS = 48
# 2^22 times a half is beyond the bounds.
_SATURATING_BITS = 22


def nearest_integer(x: Expr) -> Expr:
    """RNE(x) as i32, for a binary32 of at most 2^22 in magnitude."""
    return (x + _ROUNDER).bitcast(DType.I32) - _ROUNDER_BITS


def round_to_integer(x: Expr, low: int, high: int) -> Expr:
    """clamp(low, high, RNE(x)) as i32, for a binary32 that is not NaN."""
    return nearest_integer(minimum(maximum(x, float(low)), float(high)))


def clamped_integer(x: Expr, low: int, high: int, addend: int) -> Expr:
    """clamp(low, high, RNE(x)) + addend as a binary32; all are of at most 21 bits."""
    clamped = minimum(maximum(x, float(low)), float(high))
    return (clamped + _ROUNDER) - (_ROUNDER - addend)


def rounded_product_float(value: Expr, scale: Expr, low: int, high: int) -> Expr:
    """clamp(low, high, RNE(f32(f32(value) * scale))) by binary32 arithmetic."""
    return round_to_integer(value.cast(DType.F32) * scale, low, high)


def rounded_product_integer(value: Expr, scale: Expr, low: int, high: int) -> Expr:
    """The same by integers: both binary32 roundings are done on the bits, then that to an integer.

    |value| in 24 significant bits times the scale's mantissa is a product of 55 bits, of which 24
    stay. Of an i64, zeros at the end that do not fit 31 bits go into the exponent.
    """
    bits = scale.bitcast(DType.I32)
    # scale = mantissa * 2^(exponent - 24), the mantissa an integer of 24 bits.
    exponent = (bits >> _MANTISSA_BITS) - _EXPONENT_BELOW_ONE
    mantissa = ((bits & 0x7FFFFF) | 0x800000).cast(DType.U64)
    negative = value < 0
    positive = select(negative, -value, value)
    if value.type is DType.I64:
        size, zeros = _in_a_word(significant(positive.cast(DType.U64), _WIDE_BITS))
        exponent = exponent + zeros
    else:
        size = significant(positive.cast(DType.U32), 32)
    magnitude = rounded_mantissas(size, mantissa, exponent)
    return minimum(maximum(select(negative, -magnitude, magnitude), low), high)


def _in_a_word(x: Expr) -> tuple[Expr, Expr]:
    """A u64 of 24 significant bits as a u32 below 2^31, and how many zeros it lost (i32)."""
    zeros: Expr = Const(DType.I32, 0)
    for bits in range(_MAX_SHIFT, _WIDE_BITS, 8):
        zeros = zeros + (x >= (1 << bits)).cast(DType.I32)
    zeros = zeros << 3
    return (x >> zeros.cast(DType.U64)).cast(DType.U32), zeros


def rounded_mantissas(size: Expr, mantissa: Expr, exponent: Expr) -> Expr:
    """RNE(fl(size * mantissa * 2^(exponent - 24))) as i32, or 2^22 if it is larger.

    size is a u32 of 24 significant bits, mantissa a u64 of 2^23 to 2^24, exponent an i32. The
    product is cut into an integer and a 32-bit fraction by shifts of 32-bit words.
    """
    size = _scaled_up(select(exponent < -_MAX_SHIFT, Const(DType.U32, 0), size), exponent)
    product = significant(size.cast(DType.U64) * mantissa, 55)
    above = (product >> 24).cast(DType.U32)
    below = product.cast(DType.U32) << 8
    shift = minimum(maximum(-exponent, 0), _MAX_SHIFT).cast(DType.U32)
    integer = above >> shift
    # A fraction of at least a half has none of its 24 bits shifted out.
    fraction = ((above << 1) << (Const(DType.U32, _MAX_SHIFT) - shift)) | (below >> shift)
    half = Const(DType.U32, 1 << 31) - (integer & 1)
    rounded = integer + (fraction > half).cast(DType.U32)
    return minimum(rounded, 1 << _SATURATING_BITS).cast(DType.I32)


def _scaled_up(size: Expr, exponent: Expr) -> Expr:
    """size * 2^exponent where the exponent is positive, or a number beyond all bounds."""
    left = minimum(maximum(exponent, 0), _SATURATING_BITS).cast(DType.U32)
    limit = (Const(DType.U32, 1 << _SATURATING_BITS) >> left) + 1
    return select(exponent > 0, minimum(size, limit) << left, size)


def fused_multiply_add(lhs: Expr, rhs: Expr, addend: Expr) -> Expr:
    """lhs * rhs + addend of binary32, rounded once, by binary64.

    The product is exact in binary64; the sum is rounded to odd there, so that only the rounding
    to binary32 counts (Boldo, Melquiond: Emulation of FMA, 2008).
    """
    product = lhs.cast(DType.F64) * rhs.cast(DType.F64)
    wide = addend.cast(DType.F64)
    total = product + wide
    virtual = total - product
    error = (product - (total - virtual)) + (wide - virtual)
    bits = total.bitcast(DType.I64)
    even = (bits & 1).equals(0)
    away = (error > 0.0).equals(total > 0.0)
    step = select(away, Const(DType.I64, 1), -1)
    adjusted = select(error.differs(0.0) & even, bits + step, bits)
    return adjusted.bitcast(DType.F64).cast(DType.F32)
