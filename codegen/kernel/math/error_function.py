"""erf and the exact GELU.

Near 0, erf(x) = x + x P(x^2). Beyond, erf = 1 - erfc, with log(erfc) a polynomial in binary32 and
erfc(x) = exp(-x^2) t P(t), t = 1 / (1 + x/2), in binary64. GELU needs erfc accurate in its tail and
takes the second form throughout.
"""

import math

from lepton_cc.codegen.kernel.expr import Expr, literal, maximum, minimum, mul_add, select
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.exponential import exp_normal, exp_of_sum
from lepton_cc.codegen.kernel.math.float_format import (
    format_of,
    horner,
    magnitude,
    sign_bits,
    where,
    with_sign,
)
from lepton_cc.codegen.kernel.math.two_float import two_product
from lepton_cc.ir.dtype import DType

_SWITCH = {DType.F32: 0.9249, DType.F64: 0.9249}
_ONE_FROM = {DType.F32: 3.93, DType.F64: 5.95}


def erf(x: Expr) -> Expr:
    """The error function."""
    fmt = format_of(x)
    size = magnitude(x)
    near = mul_add(x, horner(x * x, coefficients.ERF[fmt.type]), x)
    clamped = minimum(literal(_ONE_FROM[fmt.type], x.type), size)
    far = 1.0 - (_tail_binary32(clamped) if fmt.type is DType.F32 else _tail(clamped))
    return where(size < _SWITCH[fmt.type], near, with_sign(far, sign_bits(x)))


def _tail_binary32(size: Expr) -> Expr:
    within = maximum(literal(_SWITCH[DType.F32], size.type), size)
    return exp_normal(horner(within, coefficients.ERFC[DType.F32]))


def _tail(size: Expr) -> Expr:
    square = two_product(size, size)
    return _mapped(size * 0.5) * exp_of_sum(-square.high, -square.low)


def _mapped(half: Expr) -> Expr:
    """exp(x^2) erfc(x) for half = x / 2 >= 0."""
    fmt = format_of(half)
    t = literal(1.0, half.type) / (half + 1.0)
    return t * horner(t + t - 1.0, coefficients.ERFCX[fmt.type])


def gelu(x: Expr) -> Expr:
    """0.5 x (1 + erf(x / sqrt 2)): x - x h or x h for h = erfc(|x| / sqrt 2) / 2."""
    fmt = format_of(x)
    size = minimum(literal(_GELU_LIMIT[fmt.type], x.type), magnitude(x))
    square = two_product(size, size)
    decay = exp_of_sum(square.high * -0.5, square.low * -0.5)
    negative = x < 0.0
    # The decay last: what it makes subnormal is not rounded again.
    factor = select(negative, x, size) * 0.5 * _mapped(size * (0.5 * math.sqrt(0.5)))
    product = factor * decay
    return select(negative, product, x - product)


_GELU_LIMIT = {DType.F32: 15.0, DType.F64: 39.0}
