"""Binary32 and binary64 as the functions of this package see them: fields, constants, bit tricks.

Every function is one source for both formats: it takes its format from its operand's type. Nothing
here needs a fused multiply-add or a rounding instruction to be right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, Unary, UnaryOp, literal, mul_add, select
from lepton_cc.ir.dtype import DType

LN2 = Fraction("0.69314718055994530941723212145817656807550013436025525412068")
PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494")


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary interchange format that targets compute in."""

    type: DType
    bits_type: DType  # the signed integer of the same width
    mantissa_bits: int  # stored ones
    bias: int

    @property
    def width(self) -> int:
        """Bits of the encoding."""
        return self.type.bits

    def const(self, value: float | Fraction) -> Const:
        """A float constant."""
        return Const(self.type, float(value))

    def integer(self, value: int) -> Const:
        """An integer constant as wide as the float."""
        return Const(self.bits_type, value)

    def bits_of(self, value: float) -> int:
        """The encoding of a constant as a signed integer."""
        return int(np.array(value, self.type.numpy).view(self.bits_type.numpy))

    def split(self, value: Fraction, bits: Sequence[int]) -> tuple[float, ...]:
        """Parts that sum to value: one of so many significant bits each, and a rounded rest."""
        parts, rest = [], value
        for count in bits:
            unit = Fraction(2) ** (math.frexp(float(rest))[1] - count)
            part = int(rest / unit) * unit
            parts.append(float(part))
            rest -= part
        return (*parts, float(np.array(float(rest), self.type.numpy)))

    @property
    def smallest_normal(self) -> float:
        """2^(1 - bias)."""
        return 2.0 ** (1 - self.bias)

    @property
    def round_magic(self) -> float:
        """Adding it rounds a small number to an integer, which lands in the lowest bits."""
        return 1.5 * 2.0**self.mantissa_bits


BINARY32 = FloatFormat(DType.F32, DType.I32, 23, 127)
BINARY64 = FloatFormat(DType.F64, DType.I64, 52, 1023)


def format_of(x: Expr) -> FloatFormat:
    """The format of a float expression."""
    return BINARY64 if x.type is DType.F64 else BINARY32


def to_bits(x: Expr) -> Expr:
    """The encoding as a signed integer."""
    return x.bitcast(format_of(x).bits_type)


def from_bits(bits: Expr) -> Expr:
    """The float of an encoding."""
    return bits.bitcast(DType.F64 if bits.type is DType.I64 else DType.F32)


def magnitude(x: Expr) -> Expr:
    """|x|, of NaN too."""
    return from_bits(to_bits(x) & ((1 << (format_of(x).width - 1)) - 1))


def sign_bits(x: Expr) -> Expr:
    """The sign bit in its place, as an integer."""
    return to_bits(x) & -(1 << (format_of(x).width - 1))


def with_sign(x: Expr, sign: Expr) -> Expr:
    """x with the sign bits flipped in; x is not negative where it matters."""
    return from_bits(to_bits(x) ^ sign)


def power_of_two(k: Expr, fmt: FloatFormat) -> Expr:
    """2^k for an integer k of the exponent range of normal numbers; 0 for one below it."""
    return from_bits((k + fmt.bias) << fmt.mantissa_bits)


def scale(x: Expr, k: Expr) -> Expr:
    """x * 2^k for |k| up to twice the exponent range, rounded once more if subnormal."""
    fmt, half = format_of(x), k >> 1
    return x * power_of_two(half, fmt) * power_of_two(k - half, fmt)


def round_to_integer(x: Expr, factor: float | Fraction) -> tuple[Expr, Expr]:
    """x * factor rounded to an integer, as a float and as an integer; |result| < 2^21."""
    fmt = format_of(x)
    shifted = mul_add(x, fmt.const(factor), fmt.const(fmt.round_magic))
    return shifted - fmt.round_magic, to_bits(shifted) - fmt.bits_of(fmt.round_magic)


def horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial in x, constant term first."""
    total: Expr = literal(coefficients[-1], x.type)
    for coefficient in reversed(coefficients[:-1]):
        total = mul_add(total, x, literal(coefficient, x.type))
    return total


def square_root(x: Expr) -> Expr:
    """The correctly rounded square root."""
    return Unary(x.type, UnaryOp.SQRT, x)


def truncated(x: Expr) -> Expr:
    """x rounded toward zero to an integer."""
    return Unary(x.type, UnaryOp.TRUNC, x)


def is_nan(x: Expr) -> Expr:
    """True for NaN."""
    return x.differs(x)


def nan_like(x: Expr) -> Const:
    """The quiet NaN of x's type."""
    return Const(x.type, math.nan)


def infinity_like(x: Expr) -> Const:
    """Positive infinity of x's type."""
    return Const(x.type, math.inf)


def where(condition: Expr, on_true: Expr, otherwise: Expr | float) -> Expr:
    """condition ? on_true : otherwise."""
    return select(condition, on_true, otherwise)
