"""asin, acos and atan."""

from lepton_cc.codegen.kernel.expr import Expr, literal, mul_add
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.float_format import (
    PI,
    FloatFormat,
    format_of,
    horner,
    magnitude,
    sign_bits,
    square_root,
    where,
    with_sign,
)
from lepton_cc.codegen.kernel.math.two_float import quick_two_sum


def _parts(fmt: FloatFormat, halvings: int) -> tuple[float, ...]:
    """pi / 2^halvings in two parts."""
    return fmt.split(PI / 2**halvings, (fmt.mantissa_bits + 1,))


def atan(x: Expr) -> Expr:
    """The arc tangent: of x, of (t - 1) / (t + 1) plus pi/4, or of -1 / t plus pi/2, t = |x|."""
    fmt, t = format_of(x), magnitude(x)
    middle, far = t > 0.41421356, t > 2.41421356
    one, zero = fmt.const(1.0), fmt.const(0.0)
    above = where(far, fmt.const(-1.0), where(middle, t - 1.0, t))
    below = where(far, t, where(middle, t + 1.0, one))
    z = above / below
    high, low = _parts(fmt, 1)
    half_high, half_low = _parts(fmt, 2)
    base = where(far, fmt.const(high), where(middle, fmt.const(half_high), zero))
    rest = where(far, fmt.const(low), where(middle, fmt.const(half_low), zero))
    square = z * z
    tail = square * z * horner(square, coefficients.ATAN[fmt.type]) + rest
    return with_sign(base + (z + tail), sign_bits(x))


def _arcsine_tail(z: Expr) -> Expr:
    return z * horner(z, coefficients.ASIN[format_of(z).type])


def _half_angle(t: Expr) -> tuple[Expr, Expr]:
    """(s, tail) with 2 (s + tail) = acos(t), for t >= 1/2."""
    z = (1.0 - t) * 0.5
    s = square_root(z)
    return s, s * _arcsine_tail(z)


def asin(x: Expr) -> Expr:
    """The arc sine: a polynomial to 1/2, from there pi/2 less twice that of sqrt((1 - |x|) / 2)."""
    fmt, t = format_of(x), magnitude(x)
    high, low = _parts(fmt, 1)
    s, tail = _half_angle(t)
    rest = quick_two_sum(literal(high, x.type), -(s + s))
    far = rest.high - ((tail + tail) - (rest.low + low))
    near = mul_add(t, _arcsine_tail(t * t), t)
    return with_sign(where(t > fmt.const(0.5), far, near), sign_bits(x))


def acos(x: Expr) -> Expr:
    """The arc cosine: pi/2 - asin(x) to 1/2, beyond by half angles."""
    fmt, t = format_of(x), magnitude(x)
    high, low = _parts(fmt, 1)
    full_high, full_low = _parts(fmt, 0)
    near = high - (x - (low - x * _arcsine_tail(x * x)))
    s, tail = _half_angle(t)
    twice = (s + s) + (tail + tail)
    far = where(x < fmt.const(0.0), full_high - (twice - full_low), twice)
    return where(t > fmt.const(0.5), far, near)
