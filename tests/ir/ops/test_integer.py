"""The integer ops by hand-made cases: rounding, bounds, zero points, and what they refuse."""

import math
from fractions import Fraction

import numpy as np
import pytest

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.integer import (
    QuantizedAdd,
    QuantizedMul,
    QuantizedSoftmax,
    Range,
    Requantize,
    Table,
    fused_multiply_add,
)
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType

WHOLE = Range.whole(DType.I8, 0)


def evaluate(kind: OpKind, *operands: Array) -> list[int]:
    (result,) = kind.evaluate(operands)
    return [int(element) for element in result.reshape(-1)]


def f32(value: float) -> Array:
    return np.asarray(value, np.float32)


def test_requantize_rounds_half_to_even_and_adds_the_zero_point_afterwards() -> None:
    x = np.array([1, 3, 5, -1, -3, 7], np.int32)
    # Halves 0.5, 1.5, 2.5, -0.5, -1.5, 3.5: an odd zero point would turn the ties round.
    kind = Requantize(Range.whole(DType.I8, 1))
    assert evaluate(kind, x, f32(0.5)) == [1, 3, 3, 1, -1, 5]


def test_requantize_saturates_at_its_bounds() -> None:
    x = np.array([-(2**31), -9, 0, 9, 2**31 - 1], np.int32)
    assert evaluate(Requantize(Range(DType.I8, 3, 3, 10)), x, f32(1)) == [3, 3, 3, 10, 10]


def test_requantize_rounds_the_accumulator_to_binary32_first() -> None:
    x = np.array([2**24 + 1], np.int32)
    scale = f32(2.0**-20)
    assert evaluate(Requantize(WHOLE), x, scale) == [16]
    assert evaluate(Requantize(WHOLE, 2**24), x, scale) == [0]


def test_requantize_scales_each_channel() -> None:
    x = np.array([[10, 10], [20, 20]], np.int32)
    assert evaluate(Requantize(WHOLE), x, np.array([1, 2], np.float32)) == [10, 20, 20, 40]


@pytest.mark.parametrize("seed", range(20))
def test_fused_multiply_add_rounds_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lhs, rhs, addend = (rng.normal(size=200).astype(np.float32) for _ in range(3))
    # Near-cancellation, where a second rounding shows.
    addend[::2] = -(lhs * rhs)[::2]
    got = fused_multiply_add(lhs, rhs, addend)
    for a, b, c, y in zip(lhs, rhs, addend, got, strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        below, above = np.nextafter(y, f32(-np.inf)), np.nextafter(y, f32(np.inf))
        off = abs(exact - Fraction(float(y)))
        assert off <= min(abs(exact - Fraction(float(n))) for n in (below, above))


def test_quantized_add_by_its_real_meaning() -> None:
    lhs = np.arange(-128, 128, dtype=np.int8)
    rhs = lhs[::-1].copy()
    kind = QuantizedAdd.of((0.02, 5), (0.03, -7), 0.04, Range.whole(DType.I8, 11))
    reals = (lhs - 5.0) * 0.02 + (rhs + 7.0) * 0.03
    expected = np.clip(np.rint(reals / 0.04) + 11, -128, 127)
    assert np.abs(np.array(evaluate(kind, lhs, rhs)) - expected).max() <= 1


def test_quantized_add_broadcasts_either_operand() -> None:
    kind = QuantizedAdd(1.0, 1.0, 0.0, WHOLE)
    row, column = np.array([[1, 2]], np.int8), np.array([[10], [20]], np.int8)
    assert evaluate(kind, row, column) == evaluate(kind, column, row) == [11, 12, 21, 22]


def test_quantized_mul_adds_the_zero_point_before_rounding() -> None:
    lhs, rhs = np.array([1, 3], np.int8), np.array([1, 1], np.int8)
    # 0.5 + 1 and 1.5 + 1: to even after the sum.
    assert evaluate(QuantizedMul(0, 0, 0.5, Range.whole(DType.I8, 1)), lhs, rhs) == [2, 2]


def test_table_is_indexed_from_the_lowest_value() -> None:
    entries = Tensor(np.arange(256).astype(np.int16))
    assert evaluate(Table(entries), np.array([-128, 0, 127], np.int8)) == [0, 128, 255]
    assert evaluate(Table(entries), np.array([0, 255], np.uint8)) == [0, 255]


def test_softmax_of_equal_elements_is_uniform() -> None:
    exponentials = Tensor(np.exp(-np.arange(256) / 10).astype(np.float32))
    kind = QuantizedSoftmax(1, 1 / 256, Range.whole(DType.I8, -128), exponentials)
    assert evaluate(kind, np.full((1, 4), 7, np.int8)) == [-64] * 4
    assert evaluate(kind, np.array([[127, -128]], np.int8)) == [127, -128]


def test_padding_of_a_convolution_is_the_zero_point() -> None:
    x = np.full((1, 2, 2, 1), 5, np.int8)
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    weights = np.ones((3, 3, 1, 1), np.int8)
    assert evaluate(Conv(window, 1, 5), x, weights) == [0, 0, 0, 0]
    assert evaluate(Conv(window, 1, 3), x, weights) == [8, 8, 8, 8]


def test_transposed_convolution_accumulates_in_i32() -> None:
    x = np.full((1, 1, 1, 2), -128, np.int8)
    window = Window((2, 2), (1, 1), (1, 1), (0, 0), (0, 0))
    weights = np.full((2, 2, 2, 1), 127, np.int8)
    kind = ConvTranspose(window, (0, 0), 1, 127)
    assert evaluate(kind, x, weights) == [-255 * 127 * 2] * 4


def test_matmul_subtracts_both_zero_points() -> None:
    lhs, rhs = np.array([[1, 2]], np.int8), np.array([[3], [4]], np.uint8)
    assert evaluate(MatMul(1, 2), lhs, rhs) == [2]


@pytest.mark.parametrize(
    "range_",
    [
        Range(DType.I8, 0, -129, 127),
        Range(DType.I8, 0, 5, 4),
        Range(DType.U8, -1, 0, 255),
        Range(DType.I32, 0, 0, 1),
    ],
)
def test_bounds_that_leave_the_type_are_refused(range_: Range) -> None:
    x, scale = TensorType(DType.I32, (3,)), TensorType(DType.F32, ())
    with pytest.raises(TypeInferenceError):
        Requantize(range_).infer((x, scale))


def test_scale_must_broadcast_to_the_operand() -> None:
    x, scale = TensorType(DType.I32, (3,)), TensorType(DType.F32, (2, 3))
    with pytest.raises(TypeInferenceError, match="broadcast"):
        Requantize(WHOLE).infer((x, scale))


def test_every_scale_is_binary32() -> None:
    kind = QuantizedAdd.of((0.1, 1), (0.2, 2), 0.3, WHOLE)
    for number in (kind.lhs_scale, kind.rhs_scale, kind.offset):
        assert math.isfinite(number)
        assert float(np.float32(number)) == number
