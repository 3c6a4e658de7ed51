"""Quantization by a constant scale: a division, or multiply-adds that give its very bits.

docs/numerics.md states the formula of `quantize`.
"""

import numpy as np

from lepton_cc.codegen.kernel.ir import (
    FAR_QUOTIENT,
    Const,
    Expr,
    MulAdd,
    Unary,
    UnaryOp,
    maximum,
    minimum,
    select,
)
from lepton_cc.codegen.kernel.math.requantize import round_to_integer
from lepton_cc.ir.dtype import DType


def bounded_integer(ratio: Expr) -> Expr:
    """RNE(ratio) as i32, at most FAR_QUOTIENT in magnitude, 0 for NaN."""
    rounded = Unary(ratio.type, UnaryOp.ROUND_EVEN, ratio)
    bounded = minimum(maximum(rounded, -float(FAR_QUOTIENT)), float(FAR_QUOTIENT))
    return select(ratio.equals(ratio), bounded, 0.0).cast(DType.I32)


def rounded_quotient(value: Expr, divisor: float) -> Expr:
    """`RoundedQuotient` by a division, and without an instruction that rounds."""
    rounded = round_to_integer(value / divisor, -FAR_QUOTIENT, FAR_QUOTIENT)
    return select(value.equals(value), rounded, 0)


def rounded_quotient_fused(value: Expr, divisor: float) -> Expr:
    """The same by multiply-adds that round once, some six times faster in vectors.

    With y = 1 / divisor correctly rounded, a first correction makes the quotient faithful and a
    second one correctly rounded (Markstein: Computation of elementary functions on the IBM RISC
    System/6000 processor, 1990). Values are bounded before, so that nothing overflows; where a
    remainder underflows, the quotient is far below a half.
    """
    far = float(np.float32(FAR_QUOTIENT) * np.float32(divisor))
    x = minimum(maximum(value, -far), far)
    reciprocal = Const(DType.F32, float(np.float32(1) / np.float32(divisor)))
    quotient = x * reciprocal
    for _ in range(2):
        remainder = MulAdd(DType.F32, quotient, Const(DType.F32, -divisor), x)
        quotient = MulAdd(DType.F32, remainder, reciprocal, quotient)
    rounded = round_to_integer(quotient, -FAR_QUOTIENT, FAR_QUOTIENT)
    return select(value.equals(value), rounded, 0)
