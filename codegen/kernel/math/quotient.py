"""Quantization by a constant scale: a division, or multiply-adds that give its very integers.

docs/numerics.md states the formula of `quantize`.
"""

from functools import lru_cache

import numpy as np

from lepton_cc.codegen.kernel.expr import (
    Const,
    Expr,
    MulAdd,
    Unary,
    UnaryOp,
    maximum,
    minimum,
    select,
)
from lepton_cc.codegen.kernel.integer_expr import FAR_QUOTIENT
from lepton_cc.codegen.kernel.math.requantize import nearest_integer
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.integer import fused_multiply_add
from lepton_cc.ir.tensor import Array

# Quotients of at most 17 bits are checked at each of their steps.
_MOST_STEPS = 1 << 16
# How far from a half's product with the divisor a step of the quotient is looked for, in ulps.
_WINDOW = 4


def bounded_integer(ratio: Expr) -> Expr:
    """RNE(ratio) as i32, at most FAR_QUOTIENT in magnitude, 0 for NaN."""
    rounded = Unary(ratio.type, UnaryOp.ROUND_EVEN, ratio)
    bounded = minimum(maximum(rounded, -float(FAR_QUOTIENT)), float(FAR_QUOTIENT))
    return select(ratio.equals(ratio), bounded, 0.0).cast(DType.I32)


def rounded_quotient(value: Expr, divisor: float, low: int, high: int) -> Expr:
    """`RoundedQuotient` by a division, and without an instruction that rounds."""
    return nearest_integer(_bounded(value, divisor, low, high) / divisor)


def rounded_quotient_fused(value: Expr, divisor: float, low: int, high: int) -> Expr:
    """The same by multiply-adds that round once, some six times faster in vectors."""
    x = _bounded(value, divisor, low, high)
    factors = _factors(divisor, low, high)
    quotient = _corrected_quotient(x, divisor) if factors is None else _product(x, *factors)
    return nearest_integer(quotient)


def _bounded(value: Expr, divisor: float, low: int, high: int) -> Expr:
    """The value, not beyond those whose quotients round to the bounds; 0 for NaN."""
    least, most = _extremes(divisor, low, high)
    at_least = maximum(value, least)
    # `maximum` takes its second operand where the first is NaN.
    numeric = at_least if least == 0 else select(value.equals(value), at_least, 0.0)
    return minimum(numeric, most)


def _extremes(divisor: float, low: int, high: int) -> tuple[float, float]:
    """Numbers whose quotients round to low and high: half an ulp is less than half a step."""
    return float(np.float32(low * divisor)), float(np.float32(high * divisor))


def _product(x: Expr, factor: float, rest: float) -> Expr:
    if rest == 0:
        return x * factor
    return MulAdd(DType.F32, x, Const(DType.F32, factor), x * rest)


def _corrected_quotient(x: Expr, divisor: float) -> Expr:
    """f32(x / divisor).

    With y = 1 / divisor correctly rounded, a first correction makes the quotient faithful and a
    second one correctly rounded (Markstein: Computation of elementary functions on the IBM RISC
    System/6000 processor, 1990). Where a remainder underflows, the quotient is far below a half.
    """
    reciprocal = Const(DType.F32, float(np.float32(1) / np.float32(divisor)))
    quotient = x * reciprocal
    for _ in range(2):
        remainder = MulAdd(DType.F32, quotient, Const(DType.F32, -divisor), x)
        quotient = MulAdd(DType.F32, remainder, reciprocal, quotient)
    return quotient


@lru_cache(maxsize=1024)
def _factors(divisor: float, low: int, high: int) -> tuple[float, float] | None:
    """1 / divisor in one or two binary32 numbers that round each quotient as the division does.

    Their product with x never falls as x grows, and nor does x / divisor: a step in x from one
    binary32 to the next weighs more than what is rounded of the smaller factor's product. So both
    round to the same integers if each integer begins at the same x, which is checked for all.
    None if that fails, or if there are too many integers.
    """
    if high - low > _MOST_STEPS:
        return None
    factor = np.float32(1) / np.float32(divisor)
    rest = np.float32(1 / divisor - float(factor))
    around = _around_the_steps(divisor, low, high)
    expected = np.rint(around / np.float32(divisor))
    for second in (np.float32(0), rest):
        products = fused_multiply_add(around, np.full_like(around, factor), around * second)
        if np.array_equal(np.rint(products), expected):
            return float(factor), float(second)
    return None


def _around_the_steps(divisor: float, low: int, high: int) -> Array:
    """Binary32 numbers on both sides of each x at which RNE(x / divisor) grows, f32[n]."""
    halves = np.arange(low, high, dtype=np.float64) + 0.5
    steps = (halves * divisor).astype(np.float32).view(np.int32)
    windows = steps[:, None] + np.arange(-_WINDOW, _WINDOW + 1, dtype=np.int32)
    return windows.reshape(-1).view(np.float32)
