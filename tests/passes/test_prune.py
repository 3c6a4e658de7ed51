"""Pruning on matrices and graphs whose best answer is known."""

import itertools

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Pad
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.topk import TopK
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.types import TensorType
from lepton_cc.ir.verifier import verify
from lepton_cc.passes.prune.allocate import LEVELS, Sensitivity, allocate
from lepton_cc.passes.prune.channel_groups import channel_groups
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.optimal_brain import removal_kept
from lepton_cc.passes.prune.pattern import (
    TWO_OF_FOUR,
    UNSTRUCTURED,
    Pattern,
    PatternKind,
    named_pattern,
)
from lepton_cc.passes.prune.prune_magnitude import PruneMagnitude
from lepton_cc.passes.prune.remove_channels import without_units
from lepton_cc.passes.prune.second_order import prune_matrix, refitted, relative_error

_POINT = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
_WIDE = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))


def _hessian(rows: int, seed: int = 0) -> np.ndarray:
    mixed = np.random.default_rng(seed).normal(size=(4 * rows, rows))
    mixed[:, 1:] += 0.8 * mixed[:, :-1]
    return mixed.T @ mixed


def test_the_first_removals_of_a_column_are_the_cheapest_by_trial() -> None:
    weights, hessian = np.random.default_rng(1).normal(size=(6, 1)), _hessian(6)
    kept = removal_kept(weights, hessian, 1 / 6, 6)

    def error(gone: int) -> float:
        mask = np.ones((6, 1), bool)
        mask[gone] = False
        return relative_error(weights[None], refitted(weights, hessian, mask)[None], hessian[None])

    assert not kept[min(range(6), key=error), 0]
    assert np.count_nonzero(~kept) == 1


@pytest.mark.parametrize("rows", [24, 200])
def test_second_order_pruning_beats_magnitude(rows: int) -> None:
    weights, hessian = np.random.default_rng(2).normal(size=(rows, 8)), _hessian(rows)
    solved = prune_matrix(weights, hessian, UNSTRUCTURED, 0.5, rows)
    plain = np.where(np.abs(weights) > np.median(np.abs(weights)), weights, 0.0)
    assert np.count_nonzero(solved == 0) == weights.size // 2
    ours, theirs = (
        relative_error(weights[None], one[None], hessian[None]) for one in (solved, plain)
    )
    assert ours < 0.7 * theirs


def test_two_of_four_zeros_stand_in_every_group_of_rows() -> None:
    weights, hessian = np.random.default_rng(3).normal(size=(16, 5)), _hessian(16)
    solved = prune_matrix(weights, hessian, TWO_OF_FOUR, 0.5, 16)
    assert np.all(np.count_nonzero(solved.reshape(4, 4, 5), axis=1) == 2)


@pytest.mark.parametrize(("name", "nonzeros", "group"), [("1:4", 1, 4), ("4:8", 4, 8)])
def test_n_of_m_weights_stay_in_every_group_of_rows(name: str, nonzeros: int, group: int) -> None:
    weights, hessian = np.random.default_rng(3).normal(size=(16, 5)), _hessian(16)
    pattern = named_pattern(name)
    assert pattern is not None
    assert pattern.name == name
    solved = prune_matrix(weights, hessian, pattern, 0.5, 16)
    alive = np.count_nonzero(solved.reshape(-1, group, 5), axis=1)
    assert np.all(alive == nonzeros)


def test_blocks_are_zero_as_a_whole_and_biases_never() -> None:
    weights, hessian = np.random.default_rng(4).normal(size=(9, 8)), _hessian(9)
    solved = prune_matrix(weights, hessian, Pattern(PatternKind.BLOCKS, 2, 4), 0.75, 8)
    blocks = np.any(solved[:8].reshape(4, 2, 2, 4) != 0, axis=(1, 3))
    assert np.count_nonzero(blocks) == 2
    assert np.all(solved[8] != 0)


def test_a_budget_is_spent_where_it_costs_least() -> None:
    cheap = Sensitivity("cheap", 100, tuple(level**2 * 0.01 for level in LEVELS))
    dear = Sensitivity("dear", 100, tuple(level**2 for level in LEVELS))
    shares = allocate((cheap, dear), 0.5)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["cheap"] > 0.8
    assert shares["dear"] < 0.2


def _coupled() -> Graph:
    """Two convolutions summed, joined with a third, read by a last one."""
    random = np.random.default_rng(5)
    build = GraphBuilder("coupled", [])
    x = build.input("x", TensorType(DType.F32, (1, 4, 4, 3)))

    def conv(value: object, inputs: int, outputs: int, window: Window, name: str) -> object:
        size = (*window.size, inputs, outputs)
        weights = build.constant(random.normal(size=size).astype(np.float32), name=f"{name}_w")
        bias = build.constant(random.normal(size=outputs).astype(np.float32), name=f"{name}_b")
        return build.emit(Conv(window), value, weights, bias, name=name)  # type: ignore[arg-type]  # a Value

    first, second = conv(x, 3, 4, _POINT, "first"), conv(x, 3, 4, _WIDE, "second")
    third = conv(x, 3, 2, _POINT, "third")
    total = build.emit(Binary(BinaryFunction.ADD), first, second, name="total")  # type: ignore[arg-type]  # a Value
    joined = build.emit(Concat(3), third, total, name="joined")  # type: ignore[arg-type]  # a Value
    last = conv(joined, 6, 5, _WIDE, "last")
    return build.finish([last], ["y"])  # type: ignore[list-item]  # a Value


def test_sums_and_concatenations_couple_channels() -> None:
    groups = {group.layers: group for group in channel_groups(_coupled())}
    assert set(groups) == {("first", "second"), ("third",)}
    assert len(groups["first", "second"].units) == 4
    assert all(group.readers == ("last",) for group in groups.values())


@pytest.mark.parametrize("layers", [("first", "second"), ("third",)])
def test_removing_channels_that_nothing_reads_changes_nothing(layers: tuple[str, ...]) -> None:
    graph = _coupled()
    group = next(one for one in channel_groups(graph) if one.layers == layers)
    last = next(layer for layer in prunable_layers(graph) if layer.name == "last")
    places = [c for unit in group.units[1:] for c in unit[last.op.inputs[0]]]
    matrices = last.matrices
    matrices[0, : last.num_rows].reshape(9, 6, 5)[:, places] = 0.0
    dead = with_constants(graph, last.from_matrices(matrices))
    smaller = without_units(dead, [(group, range(1, len(group.units)))])
    sizes = {layer.name: layer.weights.shape[-1] for layer in prunable_layers(smaller)}
    assert all(sizes[name] == 1 for name in layers)
    x = {"x": np.random.default_rng(6).normal(size=(1, 4, 4, 3)).astype(np.float32)}
    np.testing.assert_allclose(
        interpret(smaller, x)["y"], interpret(dead, x)["y"], rtol=1e-5, atol=1e-5
    )


def test_groups_that_share_a_concatenation_shrink_together() -> None:
    graph = _coupled()
    smaller = without_units(graph, [(group, (0,)) for group in channel_groups(graph)])
    verify(smaller)
    (last,) = (layer for layer in prunable_layers(smaller) if layer.name == "last")
    assert last.weights.shape == (3, 3, 4, 5)


@pytest.mark.parametrize("per_layer", [False, True])
def test_magnitude_zeros_the_smallest_weights(per_layer: bool) -> None:
    before = prunable_layers(_coupled())
    after = prunable_layers(PruneMagnitude(0.5, per_layer).run(_coupled(), Statistics()))
    for old, new in itertools.zip_longest(before, after):
        gone = new.weights == 0
        assert np.array_equal(old.weights[~gone], new.weights[~gone])
        if per_layer:
            assert np.count_nonzero(gone) == old.weights.size // 2
    total = sum(layer.weights.size for layer in before)
    zeros = sum(int(np.count_nonzero(layer.weights == 0)) for layer in after)
    assert abs(zeros - total / 2) <= len(before)


def test_channels_that_an_op_of_two_results_reads_stay() -> None:
    random = np.random.default_rng(9)
    build = GraphBuilder("best", [])
    x = build.input("x", TensorType(DType.F32, (3, 4)))
    weights = [build.constant(random.normal(size=(4, 4)).astype(np.float32)) for _ in range(2)]
    made = build.emit(MatMul(), x, weights[0], name="made")
    best, _ = build.add(TopK(1, 0), (made,))
    read = build.emit(MatMul(), made, weights[1], name="read")
    assert not channel_groups(build.finish([best, read], ["best", "read"]))


def test_channels_leave_through_global_pools_and_padding() -> None:
    random = np.random.default_rng(10)
    build = GraphBuilder("pooled", [])
    x = build.input("x", TensorType(DType.F32, (1, 4, 4, 3)))
    first, last = (random.normal(size=s).astype(np.float32) for s in ((1, 1, 3, 6), (6, 2)))
    last[1::2] = 0.0
    made = build.emit(Conv(_POINT), x, build.constant(first), name="made")
    padded = build.emit(Pad((0, 1, 1, 0), (0, 1, 1, 0)), made)
    pooled = build.emit(Reduce(ReduceFunction.MEAN, (1, 2), keep_dims=False), padded)
    read = build.emit(MatMul(), pooled, build.constant(last), name="read")
    graph = build.finish([read], ["y"])
    (group,) = channel_groups(graph)
    smaller = without_units(graph, [(group, (1, 3, 5))])
    verify(smaller)
    assert [layer.weights.shape for layer in prunable_layers(smaller)] == [(1, 1, 3, 3), (3, 2)]
    inputs = {"x": random.normal(size=(1, 4, 4, 3)).astype(np.float32)}
    np.testing.assert_allclose(
        interpret(smaller, inputs)["y"], interpret(graph, inputs)["y"], rtol=1e-5, atol=1e-6
    )
