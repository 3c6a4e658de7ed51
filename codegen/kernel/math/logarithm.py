"""log and log1p.

x = 2^e m with sqrt(1/2) <= m < sqrt 2, f = m - 1, s = f / (2 + f), so that
log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + s^2 P(s^2))).
"""

import math

from lepton_cc.codegen.kernel.expr import Expr, minimum, mul_add, select
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.float_format import (
    LN2,
    format_of,
    from_bits,
    horner,
    infinity_like,
    nan_like,
    power_of_two,
    to_bits,
)
from lepton_cc.codegen.kernel.math.two_float import TwoFloat, two_sum


def split_exponent(x: Expr) -> tuple[Expr, Expr]:
    """(e, m) with x = 2^e m, sqrt(1/2) <= m < sqrt 2, for a positive normal x; e is an integer."""
    fmt = format_of(x)
    bits = to_bits(x)
    e = (bits - fmt.bits_of(math.sqrt(0.5))) >> fmt.mantissa_bits
    return e, from_bits(bits - (e << fmt.mantissa_bits))


def split_any_exponent(x: Expr) -> tuple[Expr, Expr]:
    """The same for subnormal x too."""
    fmt = format_of(x)
    tiny = x < fmt.smallest_normal
    e, m = split_exponent(select(tiny, x * 2.0 ** (fmt.mantissa_bits + 1), x))
    return select(tiny, e - (fmt.mantissa_bits + 1), e), m


def _combine(e: Expr, f: Expr) -> Expr:
    fmt = format_of(f)
    high, low = fmt.split(LN2, (fmt.mantissa_bits - 11,))
    exponent = e.cast(fmt.type)
    half_square = f * f * 0.5
    s = f / (f + 2.0)
    z = s * s
    inner = half_square + z * horner(z, coefficients.LOG[fmt.type])
    correction = half_square - mul_add(s, inner, exponent * low)
    return mul_add(exponent, fmt.const(high), f - correction)


def _at_the_ends(x: Expr, value: Expr) -> Expr:
    """log's values at 0, below it, at infinity and NaN, around `value`."""
    positive = select(x < math.inf, value, x)
    return select(x < 0.0, nan_like(x), select(x.equals(0.0), -infinity_like(x), positive))


def log(x: Expr) -> Expr:
    """The natural logarithm; -inf at 0, NaN below."""
    e, m = split_any_exponent(x)
    return _at_the_ends(x, _combine(e, m - 1.0))


def log_of_pair(x: TwoFloat, extra_exponent: Expr | None = None) -> Expr:
    """log(2^extra (high + low)) for a high that is positive and normal; accurate near 1."""
    fmt = format_of(x.high)
    e, m = split_exponent(x.high)
    low = x.low * power_of_two(-minimum(e, fmt.integer(fmt.bias)), fmt)
    return _combine(e if extra_exponent is None else e + extra_exponent, (m - 1.0) + low)


def log1p(x: Expr) -> Expr:
    """log(1 + x), accurate near 0; -inf at -1, NaN below."""
    pair = two_sum(format_of(x).const(1.0), x)
    near_zero = select(x.equals(0.0), x, log_of_pair(pair))
    return _at_the_ends(pair.high, near_zero)
