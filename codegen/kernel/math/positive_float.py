"""Positive binary32 numbers by integers alone: sums, a reciprocal, products rounded to integers.

What a softmax needs on cores without floating-point unit. Numbers are given by their encodings,
u32; results are rounded as IEEE 754 says, half to even, subnormal operands included.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, maximum, minimum, select
from lepton_cc.codegen.kernel.math.requantize import rounded_mantissas
from lepton_cc.codegen.kernel.math.significant import significant
from lepton_cc.ir.dtype import DType

_MANTISSA_BITS = 23
# An encoding with exponent e means mantissa * 2^(e - _BIAS).
_BIAS = 150
# Bits kept below a mantissa, so that sums of two still fit a word; the lowest collects the rest.
_GUARD_BITS = 7
_MAX_SHIFT = 31


@dataclass(frozen=True, slots=True)
class Positive:
    """mantissa * 2^exponent; the mantissa is a u32 of 2^23 to 2^24, the exponent an i32."""

    mantissa: Expr
    exponent: Expr


def decoded(bits: Expr) -> Positive:
    """The number of an encoding; subnormal ones keep their small mantissa, 0 has mantissa 0."""
    exponent = _exponent(bits)
    return Positive(_mantissa(bits, exponent), exponent.cast(DType.I32) - _BIAS)


def positive_sum(lhs: Expr, rhs: Expr) -> Expr:
    """The encoding of fl(lhs + rhs); the sum is finite."""
    larger, smaller = maximum(lhs, rhs), minimum(lhs, rhs)
    exponent, below = _exponent(larger), _exponent(smaller)
    shift = minimum(exponent - below, _MAX_SHIFT)
    addend = _mantissa(smaller, below) << _GUARD_BITS
    aligned = addend >> shift
    inexact = (aligned << shift).differs(addend).cast(DType.U32)
    total = (_mantissa(larger, exponent) << _GUARD_BITS) + (aligned | inexact)
    carry = total >> _MAX_SHIFT
    dropped = carry + _GUARD_BITS
    odd = (total >> dropped) & 1
    half = Const(DType.U32, 1 << (_GUARD_BITS - 1)) << carry
    mantissa = (total + (half - 1 + odd)) >> dropped
    # A mantissa of 2^24 carries into the exponent.
    return ((exponent + carry - 1) << _MANTISSA_BITS) + mantissa


def scaled_reciprocal(bits: Expr, scale: float) -> Positive:
    """fl(1 / fl(x * f32(scale))) of an encoded normal x; no step is subnormal or infinite."""
    fraction, scale_exponent = math.frexp(np.float32(scale))
    x = decoded(bits)
    product = x.mantissa.cast(DType.U64) * int(math.ldexp(fraction, _MANTISSA_BITS + 1))
    carry = (product >> (2 * _MANTISSA_BITS + 1)).cast(DType.U32)
    rounded = significant(product, 2 * _MANTISSA_BITS + 2)
    divisor = (rounded >> _MANTISSA_BITS).cast(DType.U32) >> carry
    exponent = x.exponent + carry.cast(DType.I32) + (scale_exponent - 1)
    return Positive(_reciprocal_mantissa(divisor), -exponent - 2 * _MANTISSA_BITS - 1)


def _reciprocal_mantissa(divisor: Expr) -> Expr:
    """2^47 / divisor, rounded, for a divisor of 2^23 to 2^24: eight bits in each division."""
    quotient: Expr = Const(DType.U32, 0)
    rest: Expr = Const(DType.U32, 1 << _MANTISSA_BITS)
    for _ in range(3):
        dividend = rest << 8
        digit = dividend // divisor
        rest = dividend - digit * divisor
        quotient = (quotient << 8) + digit
    # Powers of two alone divide with nothing left over, and others never leave a half.
    return quotient + ((rest << 1) > divisor).cast(DType.U32)


def rounded_positive_product(bits: Expr, factor: Positive, low: int, high: int) -> Expr:
    """clamp(low, high, RNE(fl(x * factor))) as i32, for an encoded x; bounds have 17 bits."""
    x = decoded(bits)
    exponent = x.exponent + factor.exponent + (_MANTISSA_BITS + 1)
    rounded = rounded_mantissas(x.mantissa, factor.mantissa.cast(DType.U64), exponent)
    return minimum(maximum(rounded, low), high)


def _exponent(bits: Expr) -> Expr:
    encoded = bits >> _MANTISSA_BITS
    return select(encoded.equals(0), Const(DType.U32, 1), encoded)


def _mantissa(bits: Expr, exponent: Expr) -> Expr:
    return bits - ((exponent - 1) << _MANTISSA_BITS)
