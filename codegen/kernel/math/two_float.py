"""Exact sums and products of two floats as pairs, for what needs more than one float's precision.

Neither needs a fused multiply-add, nor is disturbed by one: products are split into halves whose
products are exact (T. J. Dekker, "A floating-point technique for extending the available
precision", 1971), sums are by Knuth's six additions.
"""

from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr
from lepton_cc.codegen.kernel.math.float_format import format_of, from_bits, to_bits


@dataclass(frozen=True, slots=True, eq=False)
class TwoFloat:
    """high + low, |low| at most about an ulp of high."""

    high: Expr
    low: Expr


def two_sum(x: Expr, y: Expr) -> TwoFloat:
    """x + y, exactly."""
    total = x + y
    y_part = total - x
    return TwoFloat(total, (x - (total - y_part)) + (y - y_part))


def quick_two_sum(x: Expr, y: Expr) -> TwoFloat:
    """x + y, exactly, if |x| >= |y| or x is 0."""
    total = x + y
    return TwoFloat(total, y - (total - x))


def upper_half(x: Expr) -> Expr:
    """x with the lower half of its mantissa cleared."""
    fmt = format_of(x)
    return from_bits(to_bits(x) & -(1 << (fmt.mantissa_bits // 2 + 1)))


def two_product(x: Expr, y: Expr) -> TwoFloat:
    """x * y, exactly in binary32, to 2^-105 in binary64; for products that do not underflow."""
    product = x * y
    x_high, y_high = upper_half(x), upper_half(y)
    x_low, y_low = x - x_high, y - y_high
    error = (x_high * y_high - product) + x_high * y_low + x_low * y_high
    return TwoFloat(product, error + x_low * y_low)


def multiply(x: TwoFloat, y: TwoFloat) -> TwoFloat:
    """x * y to about twice the precision."""
    product = two_product(x.high, y.high)
    return quick_two_sum(product.high, product.low + (x.high * y.low + x.low * y.high))


def add(x: TwoFloat, y: TwoFloat) -> TwoFloat:
    """x + y to about twice the precision, unless they cancel."""
    total = two_sum(x.high, y.high)
    return quick_two_sum(total.high, total.low + (x.low + y.low))


def quotient(x: TwoFloat, y: TwoFloat) -> TwoFloat:
    """x / y to about twice the precision."""
    ratio = x.high / y.high
    product = two_product(ratio, y.high)
    rest = (x.high - product.high) - product.low + x.low - ratio * y.low
    return quick_two_sum(ratio, rest / y.high)
