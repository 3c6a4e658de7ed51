"""Float functions against extended precision and C's special values."""

import math

import numpy as np
import pytest

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Var
from lepton_cc.codegen.kernel.math.exponential import exp_minus_1
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.numpy_math import UNARY_NUMPY, binary_numpy, wrap_integers
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.pointwise_functions import accepts
from tests.codegen.kernel.expression_evaluator import evaluate, numpy_type
from tests.codegen.kernel.ulp import (
    CASES,
    EDGES,
    HAS_EXTENDED_PRECISION,
    errors,
    measure,
    measure_power,
)

FLOATS = (DType.F32, DType.F64)
needs_extended_precision = pytest.mark.skipif(
    not HAS_EXTENDED_PRECISION, reason="long double is no wider than binary64 here"
)


@needs_extended_precision
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.value)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_error_is_within_its_bound(function: U, dtype: DType) -> None:
    case = CASES[function]
    worst, where = measure(function, dtype)
    assert worst <= (case.bound_f32 if dtype is DType.F32 else case.bound_f64), where


@needs_extended_precision
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.value)
def test_error_is_within_its_bound_with_fused_multiply_add(function: U) -> None:
    worst, where = measure(function, DType.F32, fused=True)
    assert worst <= CASES[function].bound_f32, where


@needs_extended_precision
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_power_is_within_one_ulp_and_special_values_are_those_of_c(
    dtype: DType, fused: bool
) -> None:
    worst, where = measure_power(dtype, fused=fused)
    assert worst <= 1, where


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_power_keeps_the_sign_of_zero_and_infinity(dtype: DType) -> None:
    base = np.array([-0.0, -0.0, -0.0, -np.inf, -np.inf, -2.0, -1.0, 1.0, np.nan], dtype.numpy)
    exponent = np.array([3, -3, 2, 3, -5, 5, np.inf, np.nan, 0], dtype.numpy)
    x, y = Var(dtype, "x"), Var(dtype, "y")
    result = evaluate(kernel_math.binary(B.POW, x, y), {x: base, y: exponent})
    expected = [math.pow(a, b) if a or b > 0 else math.copysign(math.inf, a)
                for a, b in zip(base.tolist(), exponent.tolist(), strict=True)]  # fmt: skip
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(expected))


@pytest.mark.parametrize("function", [f for f in U if f not in (U.NOT, *CASES)])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_the_other_functions_equal_numpy(function: U, dtype: DType) -> None:
    with np.errstate(all="ignore"):
        values = np.array([*EDGES, 2.5, 3.5, -2.5, 1e9, 8388609.0], dtype.numpy)
        x = Var(dtype, "x")
        result = evaluate(kernel_math.unary(function, x), {x: values})
        expected = UNARY_NUMPY[function](values)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("function", [U.SIN, U.COS, U.TAN])
def test_trigonometry_degrades_to_nan_far_away(function: U) -> None:
    x = Var(DType.F32, "x")
    values = np.array([2.0**21, -(2.0**20), 3e6, 1e30, np.inf], np.float32)
    result = evaluate(kernel_math.unary(function, x), {x: values})
    assert np.isfinite(result[:2]).all()
    assert np.isnan(result[2:]).all()


@needs_extended_precision
def test_exp_minus_1_is_accurate_everywhere() -> None:
    x = Var(DType.F32, "x")
    values = np.array([*np.linspace(-120, 88, 20001), 1e-30, 0, np.inf, -np.inf], np.float32)
    exact = np.expm1(values.astype(np.longdouble))
    assert errors(evaluate(exp_minus_1(x), {x: values}), exact).max() <= 2


@pytest.mark.parametrize("function", [B.FMOD, B.MOD, B.MIN, B.MAX, B.DIV])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_exact_binary_functions_equal_numpy_to_the_bit(function: B, dtype: DType) -> None:
    rng = np.random.default_rng(3)
    word = np.uint32 if dtype is DType.F32 else np.uint64
    raw = rng.integers(0, np.iinfo(word).max, 4000, dtype=word).view(dtype.numpy)
    with np.errstate(all="ignore"):
        near = rng.normal(size=2000).astype(dtype.numpy)
        edges = np.array(EDGES, dtype.numpy)
        first, second = (grid.ravel() for grid in np.meshgrid(edges, edges))
        lhs = np.concatenate([raw[:2000], near, first])
        rhs = np.concatenate([raw[2000:], near[::-1], second])
        x, y = Var(dtype, "x"), Var(dtype, "y")
        result = evaluate(kernel_math.binary(function, x, y), {x: lhs, y: rhs})
        expected = binary_numpy(function, lhs, rhs)
    if function in (B.MIN, B.MAX):  # NumPy leaves open which of +0 and -0 it returns
        zero = np.zeros((), dtype.numpy)
        result, expected = (np.where(values == 0, zero, values) for values in (result, expected))
    equal = (result.view(word) == expected.view(word)) | (np.isnan(result) & np.isnan(expected))
    assert equal.all(), (lhs[~equal][:3], rhs[~equal][:3])


INTEGERS = tuple(dtype for dtype in DType if dtype.is_integer)


def _integers(dtype: DType) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    low = -(1 << (dtype.bits - 1)) if dtype.is_signed_integer else 0
    high = (1 << (dtype.bits - dtype.is_signed_integer)) - 1
    chosen = {low, low + 1, -1, 0, 1, 2, 3, 5, 7, high - 1, high}
    return np.array([value for value in sorted(chosen) if low <= value <= high], dtype.numpy)


# Powers wrap here and go through binary64 in the interpreter; they are tested below.
INTEGER_CASES = [
    (function, dtype)
    for function in B
    for dtype in INTEGERS
    if accepts(function, dtype) and function is not B.POW
]


@pytest.mark.parametrize(("function", "dtype"), INTEGER_CASES)
def test_integer_functions_equal_the_interpreter(function: B, dtype: DType) -> None:
    lhs, rhs = (grid.ravel() for grid in np.meshgrid(_integers(dtype), _integers(dtype)))
    inner = numpy_type(dtype)
    x, y = Var(dtype, "x"), Var(dtype, "y")
    operands = {x: lhs.astype(inner), y: rhs.astype(inner)}
    result = evaluate(kernel_math.binary(function, x, y), operands)
    # A byte's result, wrapped, is the sub-byte type's: NumPy lacks many functions for those.
    with np.errstate(all="ignore"):
        expected = binary_numpy(function, operands[x], operands[y])
    if expected.dtype != np.bool_:
        expected = wrap_integers(expected, dtype).astype(inner)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [DType.I8, DType.I32, DType.U16, DType.I64, DType.U64])
def test_integer_power_is_exact_modulo_its_width(dtype: DType) -> None:
    base, exponent = (g.ravel() for g in np.meshgrid(_integers(dtype)[-9:], np.arange(8)))
    base, exponent = base.astype(dtype.numpy), exponent.astype(dtype.numpy)
    x, y = Var(dtype, "x"), Var(dtype, "y")
    result = evaluate(kernel_math.binary(B.POW, x, y), {x: base, y: exponent})
    exact = [pow(int(b), int(e)) & (2**dtype.bits - 1) for b, e in zip(base, exponent, strict=True)]
    assert [int(value) & (2**dtype.bits - 1) for value in result] == exact


def test_integer_power_of_negative_exponents_truncates() -> None:
    base = np.array([1, -1, -1, 2, -7, 0], np.int32)
    exponent = np.array([-3, -2, -3, -1, -1, -1], np.int32)
    x, y = Var(DType.I32, "x"), Var(DType.I32, "y")
    result = evaluate(kernel_math.binary(B.POW, x, y), {x: base, y: exponent})
    assert result.tolist() == [1, 1, -1, 0, 0, 0]
