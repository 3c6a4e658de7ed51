"""Expressions of the kernel IR for quantized arithmetic: roundings, saturation, words of bytes.

`legalize` expands those that a target has no instruction for; docs/numerics.md has the formulas.
"""

import enum
import math
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr
from lepton_cc.codegen.kernel.types import Buffer


@dataclass(frozen=True, slots=True, eq=False)
class RoundedProduct(Expr):
    """clamp(low, high, RNE(f32(f32(value) * scale))), i32; scale is f32 and positive,
    value i32, or i64 of fewer than 48 bits.

    The bounds are of at most 21 bits, or +-2^21. `bound`: no product is proved to be larger.
    """

    value: Expr
    scale: Expr
    low: int
    high: int
    bound: float = math.inf

    def operands(self) -> tuple[Expr, ...]:
        return (self.value, self.scale)


# Far outside every range that is quantized to, and exact as a float and as an i32.
FAR_QUOTIENT = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class RoundedQuotient(Expr):
    """clamp(low, high, RNE(f32(value / divisor))) as i32, 0 for NaN.

    value is f32, the divisor a binary32 number from 2^-60 to 2^60. low <= 0 <= high, both at most
    FAR_QUOTIENT in magnitude.
    """

    value: Expr
    divisor: float
    low: int = -FAR_QUOTIENT
    high: int = FAR_QUOTIENT

    def operands(self) -> tuple[Expr, ...]:
        return (self.value,)


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedSum(Expr):
    """clamp(low, high, RNE(fma(f32(lhs), lhs_scale, fma(f32(rhs), rhs_scale, offset)))), i32.

    lhs and rhs are i32 of at most `magnitude`; the scales and the offset are binary32 numbers. The
    bounds are of at most 17 bits.
    """

    lhs: Expr
    rhs: Expr
    magnitude: int
    lhs_scale: float
    rhs_scale: float
    offset: float
    low: int
    high: int

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs)


@dataclass(frozen=True, slots=True, eq=False)
class Saturate(Expr):
    """The number of the type, i8 or u8, that is nearest to operand + addend; operand is i32."""

    operand: Expr
    addend: int

    def operands(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False)
class LoadWord(Expr):
    """The four bytes of a small-integer buffer from element `index` on, as an i32."""

    buffer: Buffer
    index: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.index,)


@dataclass(frozen=True, slots=True, eq=False)
class PackedWord(Expr):
    """Four bytes, u8 or i8, as an i32, the first lowest."""

    elements: tuple[Expr, ...]

    def operands(self) -> tuple[Expr, ...]:
        return self.elements


class DotShape(enum.Enum):
    """What the words of a Dot hold."""

    QUADS = "u8 by i8"  # lhs: four u8, rhs: four i8
    PAIRS = "i16 by i16"  # two i16 each


@dataclass(frozen=True, slots=True, eq=False)
class Dot(Expr):
    """addend + the sum of the products of the small integers in two words, i32, wrapping."""

    shape: DotShape
    lhs: Expr
    rhs: Expr
    addend: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs, self.addend)
