"""The sum of quantized operands: RNE(fma(lhs, a, fma(rhs, b, offset))), by floats or by integers.

Where the scales' exponents lie close enough, all of it is exact in 64-bit fixed point but for the
roundings that the formula has, so that cores without floating-point unit need no binary64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, maximum, minimum
from lepton_cc.codegen.kernel.integer_expr import QuantizedSum
from lepton_cc.codegen.kernel.math.requantize import round_to_integer
from lepton_cc.codegen.kernel.math.significant import (
    MAX_BITS,
    SIGNIFICANT_BITS,
    divided,
    significant,
)
from lepton_cc.ir.dtype import DType

FusedMultiplyAdd = Callable[[Expr, Expr, Expr], Expr]
_I32_LIMIT = 1 << 31
# Results have at most 17 bits: one operand beyond 2^18 decides them if the other is below 2^17.
_SATURATING_BITS = 18
# Sums of at least 1/16 keep no bit below 2^-27, and smaller ones are 0 in the end.
_FRACTION_BITS = 30


def quantized_sum_float(sum_: QuantizedSum, fma: FusedMultiplyAdd) -> Expr:
    """By binary32 multiply-adds that round once."""
    lhs, rhs = (x.cast(DType.F32) for x in (sum_.lhs, sum_.rhs))
    lhs_scale, rhs_scale, offset = (
        Const(DType.F32, x) for x in (sum_.lhs_scale, sum_.rhs_scale, sum_.offset)
    )
    inner = rhs * rhs_scale if sum_.offset == 0 else fma(rhs, rhs_scale, offset)
    is_one = isinstance(sum_.lhs, Const) and sum_.lhs.value == 1
    total = lhs_scale + inner if is_one else fma(lhs, lhs_scale, inner)
    return round_to_integer(total, sum_.low, sum_.high)


def quantized_sum_integer(sum_: QuantizedSum) -> Expr | None:
    """By integers; None if the terms lie too far apart for 64 bits."""
    inner = _added(_scaled(sum_.rhs, sum_.rhs_scale, sum_.magnitude), _constant(sum_.offset))
    if inner.bits > MAX_BITS:
        return None
    inner = _rounded(inner)
    lhs = _scaled(sum_.lhs, sum_.lhs_scale, sum_.magnitude)
    total = _added(lhs, inner)
    if total.bits > MAX_BITS and lhs.exponent >= -_FRACTION_BITS > inner.exponent:
        inner = _rounded_to_odd(inner, _FRACTION_BITS)
        total = _added(lhs, inner)
    if total.bits > MAX_BITS and lhs.bits + lhs.exponent < _SATURATING_BITS:
        inner = _bounded(inner)
        total = _added(lhs, inner)
    if total.bits > MAX_BITS or total.exponent < -MAX_BITS:
        return None
    total = _rounded(total) if lhs.limit else inner
    rounded = divided(total.number, -total.exponent)
    if 1 << max(total.bits + total.exponent, 0) >= _I32_LIMIT:
        rounded = minimum(maximum(rounded, sum_.low), sum_.high)
    return minimum(maximum(rounded.cast(DType.I32), sum_.low), sum_.high)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """number * 2^exponent, the exponent at most 0, the number an i64 of at most `limit`.

    Where the limit has more than MAX_BITS the number is not to be used.
    """

    number: Expr
    exponent: int
    limit: int

    @property
    def bits(self) -> int:
        return self.limit.bit_length()


def _constant(x: float) -> _Fixed:
    mantissa, exponent = _parts(x)
    return _Fixed(Const(DType.I64, mantissa), exponent, abs(mantissa))


def _scaled(x: Expr, scale: float, magnitude: int) -> _Fixed:
    mantissa, exponent = _parts(scale)
    if isinstance(x, Const):
        magnitude = abs(int(x.value))
    whole = _rounded(_Fixed(x.cast(DType.I64), 0, magnitude))
    return _Fixed(whole.number * mantissa, exponent, abs(mantissa) * whole.limit)


def _added(lhs: _Fixed, rhs: _Fixed) -> _Fixed:
    if 0 in (lhs.limit, rhs.limit):
        return lhs if rhs.limit == 0 else rhs
    exponent = min(lhs.exponent, rhs.exponent)
    shifts = lhs.exponent - exponent, rhs.exponent - exponent
    limit = (lhs.limit << shifts[0]) + (rhs.limit << shifts[1])
    if limit.bit_length() > MAX_BITS:
        return _Fixed(lhs.number, exponent, limit)
    aligned = [x.number << s if s else x.number for x, s in zip((lhs, rhs), shifts, strict=True)]
    return _Fixed(aligned[0] + aligned[1], exponent, limit)


def _rounded(x: _Fixed) -> _Fixed:
    """x as binary32."""
    if x.bits <= SIGNIFICANT_BITS:
        return x
    dropped = x.bits - SIGNIFICANT_BITS
    limit = -(-x.limit >> dropped) << dropped
    return _Fixed(significant(x.number, x.bits), x.exponent, limit)


def _rounded_to_odd(x: _Fixed, fraction_bits: int) -> _Fixed:
    """x with fewer bits; what is dropped leaves a mark in the last one.

    A later rounding to nearest at a higher bit is then as if nothing had been dropped (Boldo,
    Melquiond: Emulation of FMA, 2008).
    """
    dropped = -x.exponent - fraction_bits
    kept = x.number >> dropped
    inexact = (kept << dropped).differs(x.number).cast(DType.I64)
    return _Fixed(kept | inexact, -fraction_bits, (x.limit >> dropped) + 1)


def _bounded(x: _Fixed) -> _Fixed:
    limit = 1 << max(_SATURATING_BITS - x.exponent, 0)
    return _Fixed(minimum(maximum(x.number, -limit), limit), x.exponent, limit)


def _parts(x: float) -> tuple[int, int]:
    """f32(x) = mantissa * 2^exponent, the exponent at most 0."""
    numerator, denominator = float(np.float32(x)).as_integer_ratio()
    return numerator, 1 - denominator.bit_length()
