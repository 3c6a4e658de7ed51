"""Remainders of floats, exact for all operands: C's fmod and Python's %.

For |x| = X 2^p >= |y| = Y 2^q with integers X and Y, |x| mod |y| = (X 2^(p - q) mod Y) 2^q, the
power by repeated squaring modulo Y.
"""

from lepton_cc.codegen.kernel.expr import Expr, literal, maximum, select
from lepton_cc.codegen.kernel.math.float_format import (
    FloatFormat,
    format_of,
    magnitude,
    nan_like,
    scale,
    sign_bits,
    to_bits,
    where,
    with_sign,
)
from lepton_cc.ir.dtype import DType

_DIGIT = {DType.F32: 24, DType.F64: 10}  # bits of a factor that a product modulo Y takes at a time


def _integer_and_exponent(size: Expr, fmt: FloatFormat) -> tuple[Expr, Expr]:
    """(X, p) with size = X 2^(p - bias - mantissa_bits), X in u64."""
    bits = to_bits(size)
    field = bits >> fmt.mantissa_bits
    hidden = select(field > 0, fmt.integer(1 << fmt.mantissa_bits), 0)
    mantissa = (bits & ((1 << fmt.mantissa_bits) - 1)) | hidden
    return mantissa.cast(DType.U64), maximum(field, 1)


def _product_modulo(x: Expr, y: Expr, modulus: Expr, fmt: FloatFormat) -> Expr:
    """x y mod modulus, for x and y below it, in 64 bits."""
    digit = _DIGIT[fmt.type]
    total: Expr | None = None
    for place in reversed(range(0, fmt.mantissa_bits + 1, digit)):
        part = x * ((y >> place) & ((1 << digit) - 1))
        total = part % modulus if total is None else ((total << digit) % modulus + part) % modulus
    assert total is not None
    return total


def fmod(x: Expr, y: Expr) -> Expr:
    """x - y trunc(x / y), exactly; x's sign, NaN for x infinite or y zero."""
    fmt = format_of(x)
    size_x, size_y = magnitude(x), magnitude(y)
    dividend, p = _integer_and_exponent(size_x, fmt)
    divisor, q = _integer_and_exponent(size_y, fmt)
    modulus = maximum(divisor, 1)
    distance = maximum(fmt.integer(0), p - q)
    power = select(modulus > 1, literal(1, DType.U64), 0)
    for place in reversed(range(fmt.width - fmt.mantissa_bits - 1)):
        power = _product_modulo(power, power, modulus, fmt)
        bit = ((distance >> place) & 1).cast(DType.U64)
        power = (power << bit) % modulus
    rest = _product_modulo(dividend % modulus, power, modulus, fmt)
    exponent = q - (fmt.bias + fmt.mantissa_bits)
    value = scale(rest.cast(fmt.bits_type).cast(fmt.type), exponent)
    smaller = where(size_x < size_y, size_x, value)
    defined = (size_x < float("inf")) & (size_y > 0.0) & (size_y <= float("inf"))
    return where(defined, with_sign(smaller, sign_bits(x)), nan_like(x))


def modulo(x: Expr, y: Expr) -> Expr:
    """x - y floor(x / y) with y's sign, as NumPy's mod."""
    rest = fmod(x, y)
    crosses = (rest.differs(0.0)) & ((rest < 0.0) ^ (y < 0.0))
    zero = with_sign(magnitude(rest), sign_bits(y))
    return where(crosses, rest + y, where(rest.equals(0.0), zero, rest))
