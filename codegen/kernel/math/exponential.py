"""exp, exp - 1 and the logistic function.

exp(x) = 2^k exp(r), k = round(x / ln 2), r = x - k ln 2 in two parts (Cody and Waite, "Software
Manual for the Elementary Functions", 1980), and exp(r) = 1 + r + r^2 P(r).
"""

from lepton_cc.codegen.kernel.expr import Expr, literal, maximum, minimum, mul_add, select
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.float_format import (
    LN2,
    format_of,
    horner,
    magnitude,
    power_of_two,
    round_to_integer,
    scale,
)
from lepton_cc.ir.dtype import DType

_LIMITS = {DType.F32: (-104.0, 89.0), DType.F64: (-746.0, 710.0)}  # exp is 0 and inf there


def reduced(x: Expr) -> tuple[Expr, Expr]:
    """(q, k) with exp(x) = 2^k (1 + q), |q| < 0.42; |x| at most 1500."""
    fmt = format_of(x)
    high, low = fmt.split(LN2, (fmt.mantissa_bits - 11,))
    turns, k = round_to_integer(x, 1 / LN2)
    r = mul_add(turns, fmt.const(-low), mul_add(turns, fmt.const(-high), x))
    return mul_add(r * r, horner(r, coefficients.EXP[fmt.type]), r), k


def exp(x: Expr) -> Expr:
    """e^x, everywhere: subnormal results, 0, infinity and NaN too."""
    lowest, highest = _LIMITS[format_of(x).type]
    clamped = maximum(literal(lowest, x.type), minimum(literal(highest, x.type), x))
    q, k = reduced(clamped)
    return scale(q + 1.0, k)


def exp_of_sum(high: Expr, low: Expr) -> Expr:
    """e^(high + low) for a low below an ulp or so of high, which is at most about 0."""
    lowest, highest = _LIMITS[format_of(high).type]
    clamped = maximum(literal(lowest, high.type), minimum(literal(highest, high.type), high))
    q, k = reduced(clamped)
    return scale(1.0 + mul_add(low, q + 1.0, q), k)


def exp_minus_1(x: Expr) -> Expr:
    """e^x - 1, accurate near 0 (but for subnormal x, which lose a bit); everywhere else too."""
    fmt = format_of(x)
    highest = _LIMITS[fmt.type][1]
    q, k = reduced(maximum(literal(-60.0, x.type), minimum(literal(highest, x.type), x)))
    half = power_of_two(k - 1, fmt)
    return mul_add(half, q, half - 0.5) * 2.0


def exp_normal(x: Expr) -> Expr:
    """e^x for an x whose result is a normal number."""
    q, k = reduced(x)
    power = power_of_two(k, format_of(x))
    return mul_add(power, q, power)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x), from e^-|x| so that nothing overflows or cancels."""
    e = exp_of_magnitude(x)
    below = e + 1.0
    ratio = select(x < 0.0, e, literal(1.0, x.type)) / below
    # What the sum lost, over the sum: 1 / (1 + e) is near enough to 1 - e / 2 on [0, 1].
    lost = (e - (below - 1.0)) * (1.0 - e * 0.5)
    return mul_add(-ratio, lost, ratio)


def exp_of_magnitude(x: Expr) -> Expr:
    """e^-|x|."""
    lowest = _LIMITS[format_of(x).type][0]
    q, k = reduced(maximum(literal(lowest, x.type), -magnitude(x)))
    return scale(q + 1.0, k)
