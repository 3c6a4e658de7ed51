"""pow of floats: 2^(y log2 |x|), the logarithm and the product in two floats; C's special values.

log2(m) = 2/ln 2 (s + s^3/3 + s^5 P(s^2)) for s = (m - 1) / (m + 1), the first two terms in two
floats, so that the product's error stays below a part in 2^7 of an ulp of the result.
"""

import math
from fractions import Fraction

from lepton_cc.codegen.kernel.expr import Expr, maximum, minimum, mul_add, select
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.float_format import (
    LN2,
    FloatFormat,
    format_of,
    horner,
    infinity_like,
    is_nan,
    magnitude,
    nan_like,
    round_to_integer,
    scale,
    sign_bits,
    truncated,
    where,
    with_sign,
)
from lepton_cc.codegen.kernel.math.logarithm import split_any_exponent
from lepton_cc.codegen.kernel.math.two_float import (
    TwoFloat,
    add,
    multiply,
    quick_two_sum,
    quotient,
    two_sum,
)
from lepton_cc.ir.dtype import DType

_EXPONENT_LIMIT = {DType.F32: 2.0**33, DType.F64: 2.0**65}  # any |y| above it is as good
_RESULT_LIMIT = {DType.F32: 200.0, DType.F64: 1200.0}


def _pair(value: Fraction, fmt: FloatFormat) -> TwoFloat:
    high, low = fmt.split(value, (fmt.mantissa_bits + 1,))
    return TwoFloat(fmt.const(high), fmt.const(low))


def _log2(x: Expr) -> TwoFloat:
    """log2 of a positive finite x, in two floats."""
    fmt = format_of(x)
    zero = fmt.const(0.0)
    e, m = split_any_exponent(x)
    s = quotient(TwoFloat(m - 1.0, zero), two_sum(m, fmt.const(1.0)))
    z = multiply(s, s)
    tail = z.high * z.high * horner(z.high, coefficients.LOG_TAIL[fmt.type])
    series = add(multiply(z, _pair(Fraction(1) / 3, fmt)), TwoFloat(tail, zero))
    mantissa = multiply(add(s, multiply(s, series)), _pair(2 / LN2, fmt))
    return add(TwoFloat(e.cast(fmt.type), zero), mantissa)


def _exp2(x: TwoFloat) -> Expr:
    """2^(high + low)."""
    fmt = format_of(x.high)
    limit = _RESULT_LIMIT[fmt.type]
    high = maximum(fmt.const(-limit), minimum(fmt.const(limit), x.high))
    turns, k = round_to_integer(high, 1.0)
    low = where(magnitude(x.high) < limit, x.low, fmt.const(0.0))
    r = multiply(quick_two_sum(high - turns, low), _pair(LN2, fmt))
    tail = mul_add(r.high * r.high, horner(r.high, coefficients.EXP[fmt.type]), r.low)
    return scale(1.0 + (r.high + tail), k)


def pow(x: Expr, y: Expr) -> Expr:
    """x^y as C99 Annex F.9.4.4 has it."""
    fmt, size = format_of(x), magnitude(x)
    zero, one, infinity = fmt.const(0.0), fmt.const(1.0), infinity_like(x)
    limit = _EXPONENT_LIMIT[fmt.type]
    exponent = maximum(fmt.const(-limit), minimum(fmt.const(limit), y))
    regular = _exp2(multiply(_log2(size), TwoFloat(exponent, zero)))
    is_zero = size.equals(0.0)
    grows = is_zero ^ (y > 0.0)
    extreme = where(grows, infinity, zero)
    value = where(is_zero | size.equals(math.inf), extreme, where(size.equals(1.0), one, regular))

    half = y * 0.5
    integral = truncated(y).equals(y)
    odd = integral & truncated(half).differs(half)
    negative = sign_bits(x)
    signed = with_sign(value, select(odd, negative, fmt.integer(0)))
    imaginary = (x < 0.0) & (x > -math.inf) & (integral ^ True)
    number = where(imaginary | is_nan(x) | is_nan(y), nan_like(x), signed)
    return where(x.equals(1.0) | y.equals(0.0), one, number)
