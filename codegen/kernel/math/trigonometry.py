"""sin, cos and tan.

x = k pi/2 + r: pi/2 is taken away in parts so short that k times each is exact for |k| <= 2^16 in
binary32 and 2^20 in binary64 (Cody and Waite, 1980), so r is good to half an ulp for |x| up to
1.0e5 and 1.6e6. Beyond, the result is that of an x moved by a few of its own ulps; past 2^21 and
2^50, where neighbouring floats are further apart than that means anything, it is NaN.
"""

from lepton_cc.codegen.kernel.expr import Expr, mul_add, select
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.float_format import (
    PI,
    format_of,
    horner,
    magnitude,
    nan_like,
    round_to_integer,
    where,
    with_sign,
)
from lepton_cc.codegen.kernel.math.two_float import TwoFloat, quick_two_sum, quotient
from lepton_cc.ir.dtype import DType

_CHUNKS = {DType.F32: (8, 8, 8, 8, 8, 8), DType.F64: (33, 33, 33)}
_EXACT_CHUNKS = {DType.F32: 2, DType.F64: 1}
_LIMIT = {DType.F32: 2.0**21, DType.F64: 2.0**50}


def _reduced(x: Expr) -> tuple[TwoFloat, Expr]:
    fmt = format_of(x)
    chunks = fmt.split(PI / 2, _CHUNKS[fmt.type])
    exact = _EXACT_CHUNKS[fmt.type]
    turns, k = round_to_integer(x, 2 / PI)
    r = x
    for chunk in chunks[:exact]:
        r = mul_add(turns, fmt.const(-chunk), r)
    low: Expr = fmt.const(0.0)
    for chunk in chunks[exact:-1]:
        step = quick_two_sum(r, turns * -chunk)
        r, low = step.high, low + step.low
    low = mul_add(turns, fmt.const(-chunks[-1]), low)
    return quick_two_sum(r, low), k


def _sine(r: TwoFloat, z: Expr) -> TwoFloat:
    cubic = z * r.high * horner(z, coefficients.SIN[format_of(z).type])
    return quick_two_sum(r.high, cubic + r.low)


def _cosine(r: TwoFloat, z: Expr) -> TwoFloat:
    half = z * 0.5
    first = 1.0 - half
    rest = z * z * horner(z, coefficients.COS[format_of(z).type]) - r.high * r.low
    return quick_two_sum(first, ((1.0 - first) - half) + rest)


def _finite(x: Expr, value: Expr) -> Expr:
    limit = _LIMIT[format_of(x).type]
    return where(magnitude(x) <= limit, value, nan_like(x))


def _quadrant(x: Expr, quarter_turns: int) -> Expr:
    r, k = _reduced(x)
    z = r.high * r.high
    quadrant = k + quarter_turns
    value = select((quadrant & 1).equals(0), _sine(r, z).high, _cosine(r, z).high)
    return _finite(x, with_sign(value, (quadrant & 2) << (format_of(x).width - 2)))


def sin(x: Expr) -> Expr:
    """The sine; see the module's text for its range."""
    return where(x.equals(0.0), x, _quadrant(x, 0))


def cos(x: Expr) -> Expr:
    """The cosine."""
    return _quadrant(x, 1)


def tan(x: Expr) -> Expr:
    """The tangent: sin / cos, or -cos / sin."""
    r, k = _reduced(x)
    z = r.high * r.high
    sine, cosine = _sine(r, z), _cosine(r, z)
    even = (k & 1).equals(0)
    above = TwoFloat(where(even, sine.high, -cosine.high), where(even, sine.low, -cosine.low))
    below = TwoFloat(where(even, cosine.high, sine.high), where(even, cosine.low, sine.low))
    return where(x.equals(0.0), x, _finite(x, quotient(above, below).high))
