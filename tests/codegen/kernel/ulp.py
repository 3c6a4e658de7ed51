"""How far our math functions are from the true values, in units of the last place.

References are NumPy's in the x86 extended format (64 bits of mantissa), erf and GELU by series and
continued fraction in it. Shared by the tests and by benchmarks/measure_ulp.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Var
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from tests.codegen.kernel.expression_evaluator import evaluate

Floats = NDArray[np.floating]
Reference = Callable[[Floats], Floats]
HAS_EXTENDED_PRECISION = np.finfo(np.longdouble).nmant >= 63
_LD = np.longdouble
_ROOT_PI = np.sqrt(_LD("3.14159265358979323846264338327950288"))
_UNIFORM = 60_000
_ANY_BITS = 60_000


def _erf_series(x: Floats) -> Floats:
    term = 2 / _ROOT_PI * x * np.exp(-x * x)
    total = np.zeros_like(x)
    for n in range(120):
        total += term
        term = term * 2 * x * x / (2 * n + 3)
    return total


def _erfc_fraction(x: Floats) -> Floats:
    """exp(x^2) erfc(x) for x >= 2."""
    fraction = np.zeros_like(x)
    for n in range(160, 0, -1):
        fraction = _LD(n) / 2 / (x + fraction)
    return np.asarray(1 / (x + fraction) / _ROOT_PI)


def erf(x: Floats) -> Floats:
    """The error function."""
    size = np.abs(x)
    near = _erf_series(np.minimum(size, 2))
    far = 1 - np.exp(-size * size) * _erfc_fraction(np.maximum(size, 2))
    return np.copysign(np.where(size < 2, near, far), x)


def gelu(x: Floats) -> Floats:
    """0.5 x erfc(-x / sqrt 2)."""
    size = np.minimum(np.abs(x), 100) / np.sqrt(_LD(2))
    near = 1 - _erf_series(np.minimum(size, 2))
    far = np.exp(-x * x / 2) * _erfc_fraction(np.maximum(size, 2))
    complement = np.where(size < 2, near, far)
    return np.where(np.isnan(x), x, x * np.where(x < 0, complement, 2 - complement) / 2)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


@dataclass(frozen=True, slots=True)
class Case:
    """A function: its reference, where most samples lie, its bounds in ULP for |x| <= limit."""

    reference: Reference
    low: float
    high: float
    bound_f32: float
    bound_f64: float
    limit: float = np.inf


U = UnaryFunction
CASES: Mapping[UnaryFunction, Case] = {
    U.EXP: Case(np.exp, -110, 90, 2, 2),
    U.SIGMOID: Case(sigmoid, -110, 110, 2, 2),
    U.LOG: Case(np.log, 0, 10, 1, 1),
    U.LOG1P: Case(np.log1p, -1, 10, 2, 2),
    U.SIN: Case(np.sin, -10, 10, 1, 1, limit=1e5),
    U.COS: Case(np.cos, -10, 10, 1, 1, limit=1e5),
    U.TAN: Case(np.tan, -10, 10, 2, 2, limit=1e5),
    U.ASIN: Case(np.arcsin, -1, 1, 2, 2),
    U.ACOS: Case(np.arccos, -1, 1, 2, 2),
    U.ATAN: Case(np.arctan, -5, 5, 2, 2),
    U.SINH: Case(np.sinh, -92, 92, 2, 2),
    U.COSH: Case(np.cosh, -92, 92, 2, 2),
    U.TANH: Case(np.tanh, -12, 12, 2, 2),
    U.ASINH: Case(np.arcsinh, -20, 20, 2, 2),
    U.ACOSH: Case(np.arccosh, 1, 5, 2, 2),
    U.ATANH: Case(np.arctanh, -1, 1, 2, 2),
    U.ERF: Case(erf, -6, 6, 2, 2),
    U.GELU: Case(gelu, -15, 15, 6, 6),
    U.RSQRT: Case(lambda x: 1 / np.sqrt(x), 0, 10, 2, 2),
}
EDGES = (
    0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 1e-45, -1e-45, 1.1754944e-38, 5e-324,
    -5e-324, 2.2250738585072014e-308, 3.4028235e38, -3.4028235e38, np.pi, np.pi / 2, np.pi / 4,
    355.0, 88.72284, -87.33655, -103.97208, 709.782712893384, -745.1332191019412,
)  # fmt: skip


def samples(case: Case, dtype: DType) -> Floats:
    """Values all over the range, of all exponents, and the edges."""
    rng = np.random.default_rng(20)
    raw = rng.integers(0, 2**64 - 1, _ANY_BITS, dtype=np.uint64, endpoint=True)
    raw = raw.astype(f"u{dtype.size_bytes}")
    scale = 8 if dtype is DType.F64 and case.high > 80 else 1
    uniform = rng.uniform(case.low * scale, case.high * scale, _UNIFORM)
    with np.errstate(over="ignore"):
        parts = [raw.view(dtype.numpy), uniform, np.array(EDGES)]
        values = np.concatenate([part.astype(dtype.numpy) for part in parts])
    return np.asarray(values[~(np.abs(values) > case.limit) | np.isinf(values)])


def errors(value: Floats, exact: Floats) -> Floats:
    """|value - exact| in ULP of the value's format; infinite where one is special and not equal."""
    info = np.finfo(value.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(value.dtype)
        exponent = np.frexp(np.maximum(np.abs(exact), _LD(info.smallest_normal)))[1]
        ulp = np.ldexp(_LD(1), exponent - 1 - info.nmant)
        distance = np.abs(value.astype(_LD) - exact) / ulp
    same = (value == rounded) | (np.isnan(value) & np.isnan(rounded))
    special = ~np.isfinite(rounded) | ~np.isfinite(value)
    # An overflow of the last ulp is one ulp of error.
    near_end = np.isinf(value) & (np.abs(exact) > _LD(info.max) * (1 - _LD(info.eps)))
    distance = np.where(special, np.where(same | near_end, 0, np.inf), distance)
    return np.asarray(distance)


def measure(function: UnaryFunction, dtype: DType, *, fused: bool = False) -> tuple[float, float]:
    """(largest error in ULP, where)."""
    case = CASES[function]
    x = Var(dtype, "x")
    values = samples(case, dtype)
    result = evaluate(kernel_math.unary(function, x), {x: values}, fused=fused)
    with np.errstate(all="ignore"):
        distance = errors(result, case.reference(values.astype(_LD)))
    worst = int(np.argmax(distance))
    return float(distance[worst]), float(values[worst])


def measure_power(dtype: DType, *, fused: bool = False) -> tuple[float, float]:
    """(largest error of pow in ULP, at which base)."""
    rng = np.random.default_rng(21)
    span = 128 if dtype is DType.F32 else 1024
    n = _UNIFORM
    bases = [
        np.exp2(rng.uniform(-3, 3, n)),
        np.exp2(rng.uniform(-1.15 * span, span, n)),
        1 + rng.uniform(-1, 1, n) * np.exp2(-rng.uniform(0, 20, n)),
        -rng.uniform(0, 20, n),
        rng.uniform(0, 20, n),
    ]
    exponents = [
        rng.uniform(-span / 3, span / 3, n),
        rng.uniform(-1.2, 1.2, n),
        rng.uniform(-1, 1, n) * np.exp2(rng.uniform(0, 26, n)),
        rng.integers(-30, 30, n),
        rng.choice([0.5, 2.0, 3.0, -0.5], n),
    ]
    special_x, special_y = np.meshgrid((*EDGES, 2.0, -2.0, 3.0, 2.0**24 + 2, 1e30, -1e30), EDGES)
    with np.errstate(over="ignore"):
        base = np.concatenate([*bases, special_x.ravel()]).astype(dtype.numpy)
        exponent = np.concatenate([*exponents, special_y.ravel()]).astype(dtype.numpy)
    x, y = Var(dtype, "x"), Var(dtype, "y")
    expression = kernel_math.binary(BinaryFunction.POW, x, y)
    result = evaluate(expression, {x: base, y: exponent}, fused=fused)
    with np.errstate(all="ignore"):
        distance = errors(result, np.power(base.astype(_LD), exponent.astype(_LD)))
    worst = int(np.argmax(distance))
    return float(distance[worst]), float(base[worst])
