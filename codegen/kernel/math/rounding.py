"""Rounding to integers and square roots for targets without the instructions: exact.

`legalize` puts them in; everything else in this package uses the primitives.
"""

import math

from lepton_cc.codegen.kernel.expr import Expr, UnaryOp, select
from lepton_cc.codegen.kernel.math.float_format import (
    FloatFormat,
    format_of,
    from_bits,
    magnitude,
    nan_like,
    sign_bits,
    to_bits,
    where,
    with_sign,
)


def rounded(op: UnaryOp, x: Expr) -> Expr:
    """FLOOR, CEIL, TRUNC or ROUND_EVEN of x; the sign of zero as C's functions have it.

    Adding and taking away 2^23 (2^52) rounds |x| below it to even; larger ones are integers.
    """
    fmt, size = format_of(x), magnitude(x)
    unit = 2.0**fmt.mantissa_bits
    even = (size + unit) - unit
    if op is UnaryOp.TRUNC:
        even = where(even > size, even - 1.0, even)
    value = with_sign(even, sign_bits(x))
    if op is UnaryOp.FLOOR:
        value = where(value > x, value - 1.0, value)
    if op is UnaryOp.CEIL:
        value = magnitude(where(value < x, value + 1.0, value))
        value = with_sign(value, sign_bits(x))
    return where(size < unit, value, x)


def square_root_of(x: Expr) -> Expr:
    """The correctly rounded square root, digit by digit in integers.

    x = m 4^h with m in [1, 4); its root to one bit more than the format, which decides the
    rounding: a root is never half way between two floats.
    """
    fmt = format_of(x)
    tiny = x < fmt.smallest_normal
    lift = (fmt.mantissa_bits + 2) // 2 * 2
    bits = to_bits(select(tiny, x * 2.0**lift, x))
    exponent = (bits >> fmt.mantissa_bits) - fmt.bias
    leading = 1 << fmt.mantissa_bits
    mantissa = ((bits & (leading - 1)) | leading) << (exponent & 1)
    root = _root_digits(mantissa, fmt)
    half = (exponent >> 1) - select(tiny, fmt.integer(lift // 2), 0)
    nearest = (root >> 1) + (root & 1)  # its leading bit adds one to the exponent field
    value = from_bits(nearest + ((half + (fmt.bias - 1)) << fmt.mantissa_bits))
    regular = where(x > 0.0, value, where(x.equals(0.0), x, nan_like(x)))
    return where(x < math.inf, regular, x)


def _root_digits(mantissa: Expr, fmt: FloatFormat) -> Expr:
    """floor(sqrt(mantissa 2^(mantissa_bits + 2))), by restoring one binary digit at a time.

    At digit p, `twice` is double the root so far and `rest` what is left of its square over 2^p.
    """
    twice: Expr = fmt.integer(0)
    rest = mantissa << 1
    for place in range(fmt.mantissa_bits + 1, -1, -1):
        trial = twice + (1 << place)
        fits = rest >= trial
        rest = select(fits, rest - trial, rest) << 1
        twice = select(fits, twice + (1 << (place + 1)), twice)
    return twice >> 1
