"""Hyperbolic functions and their inverses, from exp and the logarithm of a pair of floats."""

from lepton_cc.codegen.kernel.expr import Expr, literal, minimum, mul_add, select
from lepton_cc.codegen.kernel.math import coefficients
from lepton_cc.codegen.kernel.math.exponential import exp_normal, reduced
from lepton_cc.codegen.kernel.math.float_format import (
    format_of,
    horner,
    infinity_like,
    magnitude,
    nan_like,
    scale,
    sign_bits,
    square_root,
    where,
    with_sign,
)
from lepton_cc.codegen.kernel.math.logarithm import log_of_pair
from lepton_cc.codegen.kernel.math.two_float import (
    TwoFloat,
    quotient,
    two_product,
    two_sum,
)
from lepton_cc.ir.dtype import DType

_SATURATION = {DType.F32: 10.0, DType.F64: 20.0}  # tanh is 1 from there
_OVERFLOW = {DType.F32: 90.0, DType.F64: 712.0}
_LARGE = {DType.F32: 2.0**14, DType.F64: 2.0**28}  # asinh(x) and acosh(x) are log(2 x) from there


def tanh(x: Expr) -> Expr:
    """A polynomial to 0.55, from there 1 - 2 / (exp(2 |x|) + 1)."""
    fmt, full = format_of(x), magnitude(x)
    square = x * x
    near = mul_add(square * x, horner(square, coefficients.TANH[fmt.type]), x)
    size = minimum(literal(_SATURATION[fmt.type], x.type), full)
    far = 1.0 - literal(2.0, x.type) / (exp_normal(size + size) + 1.0)
    return where(full < 0.55, near, with_sign(far, sign_bits(x)))


def _half_exp(size: Expr) -> Expr:
    q, k = reduced(minimum(literal(_OVERFLOW[format_of(size).type], size.type), size))
    return scale(q + 1.0, k - 1)


def sinh(x: Expr) -> Expr:
    """A polynomial to 1, from there h - 1 / (4 h) for h = exp(|x|) / 2."""
    fmt = format_of(x)
    square = x * x
    near = mul_add(square * x, horner(square, coefficients.SINH[fmt.type]), x)
    half = _half_exp(magnitude(x))
    far = half - literal(0.25, x.type) / half
    return where(magnitude(x) < 1.0, near, with_sign(far, sign_bits(x)))


def cosh(x: Expr) -> Expr:
    """h + 1 / (4 h) for h = exp(|x|) / 2."""
    half = _half_exp(magnitude(x))
    return half + literal(0.25, x.type) / half


def asinh(x: Expr) -> Expr:
    """log(1 + t + t^2 / (1 + sqrt(1 + t^2))) for t = |x|; log(2 t) if t is large."""
    fmt, size = format_of(x), magnitude(x)
    large = size >= _LARGE[fmt.type]
    t = select(large, literal(1.0, x.type), size)
    square = t * t
    first = two_sum(fmt.const(1.0), t)
    second = two_sum(first.high, square / (square_root(square + 1.0) + 1.0))
    pair = TwoFloat(
        where(large, size, second.high), where(large, fmt.const(0.0), second.low + first.low)
    )
    value = log_of_pair(pair, where(large, fmt.integer(1), fmt.integer(0)))
    finite = where(size < infinity_like(x), value, size)
    return with_sign(where(size < fmt.const(fmt.smallest_normal), size, finite), sign_bits(x))


def acosh(x: Expr) -> Expr:
    """log(1 + t + sqrt(2 t + t^2)) for t = x - 1; log(2 x) if x is large, NaN below 1."""
    fmt = format_of(x)
    large = x >= _LARGE[fmt.type]
    t = select(large, literal(1.0, x.type), x - 1.0)
    first = two_sum(fmt.const(1.0), t)
    root = _root_of_pair(two_sum(t + t, t * t))
    second = two_sum(first.high, root.high)
    low = second.low + (first.low + root.low)
    pair = TwoFloat(where(large, x, second.high), where(large, fmt.const(0.0), low))
    value = log_of_pair(pair, where(large, fmt.integer(1), fmt.integer(0)))
    return where(x < fmt.const(1.0), nan_like(x), where(x < infinity_like(x), value, x))


def _root_of_pair(x: TwoFloat) -> TwoFloat:
    """The square root of high + low, 0 or normal, to more than one float's precision."""
    root = square_root(x.high)
    square = two_product(root, root)
    rest = ((x.high - square.high) - square.low) + x.low
    return TwoFloat(root, where(root > 0.0, rest / (root + root), literal(0.0, root.type)))


def atanh(x: Expr) -> Expr:
    """log(1 + 2 t / (1 - t)) / 2 for t = |x|; infinite at 1, NaN beyond."""
    fmt, size = format_of(x), magnitude(x)
    t = select(size < 1.0, size, literal(0.5, x.type))
    rest = two_sum(fmt.const(1.0), -t)
    ratio = quotient(TwoFloat(t + t, fmt.const(0.0)), rest)
    total = two_sum(fmt.const(1.0), ratio.high)
    value = log_of_pair(TwoFloat(total.high, total.low + ratio.low)) * 0.5
    tiny = size < 2.0 ** -(fmt.mantissa_bits // 2 + 3)
    inside = where(size < 1.0, where(tiny, size, value), infinity_like(x))
    return with_sign(where(size <= fmt.const(1.0), inside, nan_like(x)), sign_bits(x))
