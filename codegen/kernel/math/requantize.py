"""Requantization and exact multiply-adds, for targets with and without floating point.

The two forms of `rounded_product` give the same bits: docs/numerics.md, "Requantization".
"""

from lepton_cc.codegen.kernel.ir import Const, Expr, literal, maximum, minimum, select
from lepton_cc.ir.dtype import DType

# Adding 1.5 * 2^23 leaves an integer in the low bits of a binary32, rounded half to even.
_ROUNDER = 12582912.0
_ROUNDER_BITS = 0x4B400000
_MANTISSA_BITS = 23
_SIGNIFICANT_BITS = 24
# scale = mantissa * 2^(exponent - 150), with the mantissa an integer of 24 bits.
_EXPONENT_BIAS = 150


def round_to_integer(x: Expr, low: int, high: int) -> Expr:
    """clamp(low, high, RNE(x)) as i32, for a binary32 that is not NaN."""
    clamped = minimum(maximum(x, float(low)), float(high))
    return (clamped + _ROUNDER).bitcast(DType.I32) - _ROUNDER_BITS


def rounded_product_float(value: Expr, scale: Expr, low: int, high: int) -> Expr:
    """clamp(low, high, RNE(f32(f32(value) * scale))) by binary32 arithmetic."""
    return round_to_integer(value.cast(DType.F32) * scale, low, high)


def rounded_product_integer(value: Expr, scale: Expr, low: int, high: int) -> Expr:
    """The same by integers: both binary32 roundings are done on the bits.

    |value| is rounded to 24 bits, multiplied by the scale's mantissa, the product is rounded to
    24 bits and then to an integer; each rounding is half to even.
    """
    bits = scale.bitcast(DType.I32)
    exponent = (bits >> _MANTISSA_BITS) & 0xFF
    mantissa = ((bits & 0x7FFFFF) | 0x800000).cast(DType.U64)
    negative = value < 0
    size = select(negative, -value, value).cast(DType.U32)
    rounded_size = _significant(size, _bit_length(size >> _SIGNIFICANT_BITS, 3))
    product = rounded_size.cast(DType.U64) * mantissa
    excess = _bit_length((product >> _SIGNIFICANT_BITS).cast(DType.U32), 5)
    significant = _significant(product, excess)
    shift = literal(_EXPONENT_BIAS, DType.I32) - exponent
    # Products are below 2^57: shifts of more than 62 give 0, and none is needed to the left
    # beyond the bounds, which 2^17 exceeds.
    inside = minimum(maximum(shift, 0), 62)
    integer = _shifted(significant, inside.cast(DType.U64))
    limit = Const(DType.U64, 1 << 20)
    capped = select(integer < limit, integer, limit)
    huge = (shift < 0) & product.differs(0)
    magnitude = select(huge, limit, capped).cast(DType.I32)
    return minimum(maximum(select(negative, -magnitude, magnitude), low), high)


def _significant(x: Expr, excess: Expr) -> Expr:
    """x rounded half to even to a multiple of 2^excess."""
    count = excess.cast(x.type)
    return _shifted(x, count) << count


def _shifted(x: Expr, count: Expr) -> Expr:
    """x / 2^count, rounded half to even; x and count are unsigned of one type."""
    one = Const(x.type, 1)
    half = (one << count) >> one
    odd = (x >> count) & one
    # half - 1 + odd, or nothing where no bit is dropped.
    bias = select(count.equals(0), Const(x.type, 0), half + odd - one)
    return (x + bias) >> count


def _bit_length(x: Expr, steps: int) -> Expr:
    """Number of bits of a u32 below 2^(2^steps), by bisection."""
    length: Expr = Const(DType.U32, 0)
    rest = x
    for step in reversed(range(steps)):
        width = 1 << step
        big = rest >= (1 << width)
        length = select(big, length + width, length)
        rest = select(big, rest >> width, rest)
    return length + rest.differs(0).cast(DType.U32)


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
