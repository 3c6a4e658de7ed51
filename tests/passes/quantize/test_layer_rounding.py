"""Rounding a layer's weights by second moments, and equal ranges between layers."""

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.adaptive_rounding import round_adaptively
from lepton_cc.passes.quantize.column_solve import (
    best_scales,
    descend,
    quadratic_error,
    solve_columns,
)
from lepton_cc.passes.quantize.equalize_channels import EqualizeChannels
from lepton_cc.passes.quantize.layer_moments import (
    MomentSums,
    grouped_weights,
    ungrouped_weights,
    window_rows,
)
from lepton_cc.passes.quantize.layer_rounding import LayerProblem, Rounding, round_layer

BOUNDS = (-8, 7)
WINDOW = Window((3, 3), (2, 1), (1, 2), (1, 0), (0, 2))


def problem(seed: int = 0) -> tuple[Array, Array, Array]:
    """Weights [2, 24, 6], moments of correlated inputs, scales."""
    generator = np.random.default_rng(seed)
    mixed = generator.standard_normal((2, 400, 24)) @ generator.standard_normal((2, 24, 24))
    gram = mixed.transpose(0, 2, 1) @ mixed / 400 + 0.05 * np.eye(24)
    weights = generator.standard_normal((2, 24, 6))
    return weights, gram, np.abs(weights).max(axis=1) / 8


def error_of(integers: Array, weights: Array, gram: Array, scales: Array) -> float:
    return float(quadratic_error(integers * scales[:, None, :] - weights, gram).sum())


@pytest.mark.parametrize("seed", range(3))
def test_each_method_errs_less_than_the_one_before(seed: int) -> None:
    weights, gram, scales = problem(seed)
    nearest = np.clip(np.rint(weights / scales[:, None, :]), *BOUNDS)
    solved = solve_columns(weights, gram, scales, BOUNDS)
    descended = descend(solved, weights, gram, scales, BOUNDS)
    learned = round_adaptively(weights, gram, scales, BOUNDS)
    errors = [error_of(one, weights, gram, scales) for one in (nearest, solved, descended, learned)]
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] <= errors[1]
    assert errors[3] < 0.7 * errors[0]
    for integers in (solved, descended, learned):
        assert np.array_equal(integers, np.rint(integers))
        assert integers.min() >= BOUNDS[0]
        assert integers.max() <= BOUNDS[1]


def test_blocks_do_not_change_what_rows_alone_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, gram, scales = problem(5)
    whole = solve_columns(weights, gram, scales, BOUNDS)
    monkeypatch.setattr("lepton_cc.passes.quantize.column_solve._BLOCK", 5)
    np.testing.assert_array_equal(solve_columns(weights, gram, scales, BOUNDS), whole)


def test_each_output_has_its_best_scale() -> None:
    weights, gram, scales = problem(7)
    ratios = np.asarray([1.0, 0.8, 0.6])
    chosen = best_scales(weights, gram, scales, ratios, BOUNDS)
    by_ratio = [
        quadratic_error(
            solve_columns(weights, gram, scales * r, BOUNDS) * (scales * r)[:, None, :] - weights,
            gram,
        )
        for r in ratios
    ]
    best = scales * ratios[np.argmin(by_ratio, axis=0)]
    np.testing.assert_allclose(chosen, best)


def layer(groups: int) -> tuple[Op, Array, Array]:
    """A convolution [1, 9, 8, 4] -> [1, 5, 6, 6], its input and weights."""
    generator = np.random.default_rng(groups)
    builder = GraphBuilder("layer", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, 9, 8, 4)))
    weights = generator.standard_normal((3, 3, 4 // groups, 6)).astype(np.float32)
    value = builder.emit(Conv(WINDOW, groups), x, builder.constant(weights))
    op = builder.producer(value)
    assert op is not None
    return op, generator.standard_normal((1, 9, 8, 4)).astype(np.float32), weights


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_a_product_of_its_windows(groups: int) -> None:
    op, x, weights = layer(groups)
    (expected,) = op.kind.evaluate([x, weights])
    rows, columns = window_rows(op, x), grouped_weights(op, weights)
    product = (rows @ columns).transpose(1, 0, 2).reshape(expected.shape)
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ungrouped_weights(columns, weights.shape), weights)


def test_moments_are_means_over_samples() -> None:
    op, x, _ = layer(2)
    sums = MomentSums(op, num_samples=2)
    sums.observe(x, x + 1)
    sums.observe(2 * x, x)
    moments = sums.moments()
    read = np.concatenate([window_rows(op, x), window_rows(op, 2 * x)], axis=1)
    floats = np.concatenate([window_rows(op, x + 1), window_rows(op, x)], axis=1)
    assert moments.num_positions == read.shape[1]
    gram = read.transpose(0, 2, 1) @ read / read.shape[1]
    np.testing.assert_allclose(moments.gram, gram, rtol=1e-4, atol=1e-4)
    cross = read.transpose(0, 2, 1) @ floats / read.shape[1]
    np.testing.assert_allclose(moments.cross, cross, rtol=1e-4, atol=1e-4)


def test_a_layer_makes_up_for_what_was_lost_before_it() -> None:
    generator = np.random.default_rng(11)
    builder = GraphBuilder("layer", ["x"])
    x = builder.input("x", TensorType(DType.F32, (64, 16)))
    weights = generator.standard_normal((16, 8)).astype(np.float32)
    op = builder.producer(builder.emit(MatMul(), x, builder.constant(weights)))
    assert op is not None
    floats = generator.standard_normal((64, 16)).astype(np.float32)
    read = floats * np.float32(0.8) + np.float32(0.3)
    sums = MomentSums(op, num_samples=1)
    sums.observe(read, floats)
    task = LayerProblem(op, weights, None, np.float32(0.1), DType.I8, sums.moments())
    rounded, error = round_layer(task, Rounding.GPTQ, correct_bias=True)
    assert rounded.bias_shift is not None
    result = read @ rounded.weights.reals + rounded.bias_shift
    wanted = floats @ weights
    assert np.mean((result - wanted) ** 2) < 0.002 * np.mean(wanted**2)
    assert error.solved < error.to_nearest


def two_layers() -> Graph:
    generator = np.random.default_rng(2)
    ranges = np.asarray([0.01, 1.0, 30.0, 4.0])
    builder = GraphBuilder("pair", ["x"])
    value = builder.input("x", TensorType(DType.F32, (1, 6, 6, 2)))
    pointwise = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))

    def constant(array: Array) -> Array:
        return array.astype(np.float32)

    first = builder.constant(constant(generator.standard_normal((1, 1, 2, 4)) * ranges))
    bias = builder.constant(constant(generator.standard_normal(4) * ranges))
    value = builder.emit(Clamp(0.0), builder.emit(Conv(pointwise), value, first, bias))
    depthwise = builder.constant(constant(generator.standard_normal((3, 3, 1, 4)) / ranges))
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    value = builder.emit(Clamp(0.0), builder.emit(Conv(window, 4), value, depthwise))
    last = builder.constant(constant(generator.standard_normal((1, 1, 4, 3))))
    value = builder.emit(Clamp(0.0, 6.0), builder.emit(Conv(pointwise), value, last))
    flat = builder.emit(Reshape((1, 108)), value)
    dense = builder.constant(constant(generator.standard_normal((108, 2))))
    return builder.finish([builder.emit(MatMul(), flat, dense)], ["y"])


def test_equal_ranges_leave_every_bit_of_the_result() -> None:
    graph = two_layers()
    statistics = Statistics()
    equal = EqualizeChannels().run(graph, statistics)
    # relu6 and the reshape end the chain.
    assert statistics.counts == (("equalize two layers", 2),)
    x = np.random.default_rng(3).standard_normal((1, 6, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(interpret(equal, {"x": x})["y"], interpret(graph, {"x": x})["y"])
    again = Statistics()
    assert EqualizeChannels().run(equal, again) == equal


@pytest.mark.parametrize("method", [Rounding.GPTQ, Rounding.ADAROUND])
@pytest.mark.parametrize("dtype", [DType.I4, DType.I8])
def test_zeros_of_pruned_layers_stay(method: Rounding, dtype: DType) -> None:
    op, x, weights = layer(2)
    pruned = weights.copy()
    pruned[..., ::2, :] = 0
    pruned[0, 1, 1, 2:4] = 0
    sums = MomentSums(op, num_samples=2)
    sums.observe(x, x + 0.1)
    sums.observe(0.5 * x[:, ::-1], x[:, ::-1])
    given = LayerProblem(op, pruned, None, np.float32(0.1), dtype, sums.moments())
    rounded, error = round_layer(given, method, correct_bias=True)
    assert not np.any(rounded.weights.integers[pruned == 0])
    assert np.count_nonzero(rounded.weights.integers) > 0.8 * np.count_nonzero(pruned)
    assert error.solved < error.to_nearest


def test_inputs_that_never_change_are_no_problem() -> None:
    """Their covariances are nothing but rounding errors."""
    op, x, weights = layer(1)
    sums = MomentSums(op, num_samples=3)
    for _ in range(3):
        sums.observe(np.full_like(x, 300.1), np.full_like(x, 300.0))
    given = LayerProblem(op, weights, None, np.float32(0.1), DType.I4, sums.moments())
    rounded, error = round_layer(given, Rounding.GPTQ, correct_bias=True)
    assert np.isfinite(error.solved)
    assert np.any(rounded.weights.integers)
