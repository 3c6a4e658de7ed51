"""Positive binary32 numbers by integers equal NumPy's floats to the bit."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_cc.codegen.kernel.expr import Const, Var
from lepton_cc.codegen.kernel.math.positive_float import (
    Positive,
    positive_sum,
    rounded_positive_product,
    scaled_reciprocal,
)
from lepton_cc.ir.dtype import DType
from tests.codegen.kernel.expression_evaluator import evaluate

Words = NDArray[np.uint32]
X, Y = Var(DType.U32, "x"), Var(DType.U32, "y")
_COUNT = 400_000


def encodings(low: int, high: int, rng: np.random.Generator) -> Words:
    """Exponents from low to high (0: subnormal), mantissas of few bits, of ones, and any."""
    mantissas = rng.integers(0, 1 << 23, _COUNT) & (-1 << rng.integers(0, 24, _COUNT))
    mantissas = np.where(rng.random(_COUNT) < 0.2, (1 << 23) - 1 - mantissas, mantissas)
    return (rng.integers(low, high + 1, _COUNT) << 23 | mantissas).astype(np.uint32)


@pytest.mark.parametrize(("low", "high"), [(0, 3), (0, 253), (100, 130)])
def test_sums(low: int, high: int) -> None:
    rng = np.random.default_rng(1)
    x = encodings(low, high, rng)
    # Half of the operands within the reach of a rounding, half anywhere; zeros among them.
    near = np.clip((x >> 23).astype(np.int64) + rng.integers(-27, 28, _COUNT), low, high)
    y = (near << 23).astype(np.uint32) | (encodings(0, 0, rng) & 0x7FFFFF)
    y = np.where(rng.random(_COUNT) < 0.5, y, encodings(low, high, rng))
    y[:100] = 0
    expected = (x.view(np.float32) + y.view(np.float32)).view(np.uint32)
    np.testing.assert_array_equal(evaluate(positive_sum(X, Y), {X: x, Y: y}), expected)


@pytest.mark.parametrize("scale", [1 / 256, 1 / 255, 1.0, 0.0123, 2.0**-40, 3e15, 1 - 2.0**-24])
def test_reciprocals(scale: float) -> None:
    x = encodings(127, 150, np.random.default_rng(2))
    stored = np.float32(scale)
    expected = np.float32(1) / (x.view(np.float32) * stored)
    found = scaled_reciprocal(X, scale)
    mantissa, exponent = (evaluate(e, {X: x}) for e in (found.mantissa, found.exponent))
    assert mantissa.min() >= 1 << 23
    assert mantissa.max() <= 1 << 24
    np.testing.assert_array_equal(np.ldexp(mantissa.astype(np.float64), exponent), expected)


@pytest.mark.parametrize("exponent", [-60, -31, -23, -20, -15, -8, 0, 20])
def test_products_are_rounded_to_integers(exponent: int) -> None:
    rng = np.random.default_rng(3)
    x = encodings(0, 127, rng)
    x = np.where(rng.random(_COUNT) < 0.7, x & 0x7FFFFF | (120 << 23), x).astype(np.uint32)
    y = (1 << 23) + (encodings(0, 0, rng) & 0x7FFFFF)
    y[:100] = 1 << 24
    product = x.view(np.float32) * np.ldexp(y.astype(np.float32), exponent)
    expected = np.clip(np.rint(product), -128, 1000)
    factor = Positive(Y, Const(DType.I32, exponent))
    rounded = rounded_positive_product(X, factor, -128, 1000)
    np.testing.assert_array_equal(evaluate(rounded, {X: x, Y: y.astype(np.uint32)}), expected)
