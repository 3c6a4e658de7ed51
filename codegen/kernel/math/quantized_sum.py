"""The sum of quantized operands: RNE(fma(lhs, a, fma(rhs, b, offset))), by floats or by integers.

Where the scales' exponents lie close enough, all of it is exact in 64-bit fixed point but for the
roundings that the formula has, so that cores without floating-point unit need no binary64.
"""

from collections.abc import Callable

from lepton_cc.codegen.kernel.ir import Const, Expr, QuantizedSum, maximum, minimum
from lepton_cc.codegen.kernel.math.requantize import round_to_integer
from lepton_cc.codegen.kernel.math.significant import MAX_BITS, divided, significant
from lepton_cc.ir.dtype import DType

FusedMultiplyAdd = Callable[[Expr, Expr, Expr], Expr]
_I32_LIMIT = 1 << 31


def quantized_sum_float(sum_: QuantizedSum, fma: FusedMultiplyAdd) -> Expr:
    """By binary32 multiply-adds that round once."""
    lhs, rhs = (x.cast(DType.F32) for x in (sum_.lhs, sum_.rhs))
    lhs_scale, rhs_scale, offset = (
        Const(DType.F32, x) for x in (sum_.lhs_scale, sum_.rhs_scale, sum_.offset)
    )
    total = fma(lhs, lhs_scale, fma(rhs, rhs_scale, offset))
    return round_to_integer(total, sum_.low, sum_.high)


def quantized_sum_integer(sum_: QuantizedSum) -> Expr | None:
    """By integers; None if the terms lie too far apart for 64 bits."""
    rhs, rhs_exponent = _parts(sum_.rhs_scale)
    offset, offset_exponent = _parts(sum_.offset)
    inner_exponent = min(rhs_exponent, offset_exponent)
    rhs <<= rhs_exponent - inner_exponent
    offset <<= offset_exponent - inner_exponent
    inner_bits = (abs(rhs) * sum_.magnitude + abs(offset)).bit_length()

    lhs, lhs_exponent = _parts(sum_.lhs_scale)
    exponent = min(lhs_exponent, inner_exponent)
    lhs <<= lhs_exponent - exponent
    shift = inner_exponent - exponent
    # Rounding can carry into one bit more.
    bits = (abs(lhs) * sum_.magnitude + (1 << (inner_bits + shift))).bit_length()
    if max(inner_bits, bits) > MAX_BITS or not -MAX_BITS <= exponent <= 0:
        return None

    inner = sum_.rhs.cast(DType.I64) * rhs + offset
    aligned = significant(inner, inner_bits) << shift
    total = significant(sum_.lhs.cast(DType.I64) * lhs + aligned, bits)
    rounded = divided(total, -exponent)
    if 1 << max(bits + exponent, 0) >= _I32_LIMIT:
        rounded = minimum(maximum(rounded, sum_.low), sum_.high)
    return minimum(maximum(rounded.cast(DType.I32), sum_.low), sum_.high)


def _parts(x: float) -> tuple[int, int]:
    """x = mantissa * 2^exponent with an odd mantissa; 0 has none."""
    if x == 0:
        return 0, 0
    numerator, denominator = x.as_integer_ratio()
    zeros = (numerator & -numerator).bit_length() - 1
    return numerator >> zeros, zeros - (denominator.bit_length() - 1)
