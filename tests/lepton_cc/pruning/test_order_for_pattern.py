"""Channels change places before n:m zeros: the same function, and less is lost."""

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.order_channels import channel_order
from lepton_cc.passes.prune.pattern import TWO_OF_FOUR, Pattern, PatternKind
from lepton_cc.passes.reconstruct.whole import whole_block
from lepton_cc.pruning.options import PruneOptions
from lepton_cc.pruning.order_for_pattern import ordered_for_pattern
from lepton_cc.pruning.prune import prune_prepared
from lepton_cc.reconstruction.outputs import FitOptions
from lepton_cc.reconstruction.whole_fit import hints_of
from tests.lepton_cc.reconstruction.small_networks import (
    WIDE,
    NetworkBuilder,
    residual_network,
    samples_of,
)


def _lost(costs: Array, order: Array, pattern: Pattern) -> float:
    groups = np.sort(costs[order].reshape(-1, pattern.rows, costs.shape[1]), axis=1)
    return float(groups[:, : pattern.rows - pattern.nonzeros].sum())


def _loud(graph: Graph) -> Graph:
    """The graph with four neighbouring channels of the stream much louder than the others."""
    changed = {}
    for layer in prunable_layers(graph):
        if layer.groups > 1 or layer.name in ("stem", "point"):
            weights = layer.weights.copy()
            weights[..., :4] *= 8
            changed[layer.op.inputs[1]] = weights
    return with_constants(graph, changed)


def test_what_counts_is_spread_over_all_neighbourhoods() -> None:
    costs = np.repeat([[9.0]] * 4 + [[1.0]] * 12, 5, axis=1)
    for nonzeros, height, least in ((2, 4, 8 * 5), (1, 4, 12 * 5), (4, 8, 8 * 5)):
        pattern = Pattern(PatternKind.N_OF_M, height, nonzeros=nonzeros)
        order = channel_order(costs, pattern)
        assert sorted(order) == list(range(16))
        assert _lost(costs, order, pattern) == least
    random = np.random.default_rng(0).exponential(size=(32, 40)) ** 2
    before = _lost(random, np.arange(32), TWO_OF_FOUR)
    assert _lost(random, channel_order(random, TWO_OF_FOUR), TWO_OF_FOUR) < 0.95 * before


def test_another_order_computes_the_same() -> None:
    graph = _loud(residual_network())
    layers = [one for one in prunable_layers(graph) if one.name in ("point", "logits")]
    ordered, places = ordered_for_pattern(graph, layers, samples_of(graph, 40), TWO_OF_FOUR, ())
    assert [value.type for value in ordered.outputs] == [value.type for value in graph.outputs]
    assert {"stem", "wide", "total", "flat"} <= set(places)
    # Two of four loud neighbours go to the others.
    assert int(np.count_nonzero(places["stem"][:4] < 4)) == 2
    x = {"x": np.random.default_rng(7).normal(size=(1, 6, 6, 3)).astype(np.float32)}
    seen: dict[str, Array] = {}
    theirs: dict[str, Array] = {}
    got = interpret(ordered, x, lambda value, array: seen.update({value.name: array}))
    want = interpret(graph, x, lambda value, array: theirs.update({value.name: array}))
    np.testing.assert_allclose(got["y"], want["y"], rtol=1e-5, atol=1e-5)
    for name, channels in places.items():
        np.testing.assert_allclose(seen[name], theirs[name][..., channels], rtol=1e-5, atol=1e-5)


def test_layers_to_be_kept_keep_their_order() -> None:
    graph = _loud(residual_network())
    layers = [one for one in prunable_layers(graph) if one.name in ("point", "logits")]
    data = samples_of(graph, 8)
    assert ordered_for_pattern(graph, layers, data, TWO_OF_FOUR, ("stem",)) == (graph, {})


def test_pruning_and_its_fit_know_of_the_order() -> None:
    net = NetworkBuilder("three_layers", seed=4)
    x = net.build.input("x", TensorType(DType.F32, (1, 6, 6, 3)))
    stem = net.relu(net.conv(x, 8, WIDE, "stem"), "stem_relu")
    middle = net.relu(net.conv(stem, 8, WIDE, "middle"), "middle_relu")
    graph = _loud(net.build.finish([net.conv(middle, 4, WIDE, "logits")], ["y"]))
    options = PruneOptions(0.5, TWO_OF_FOUR, fit=FitOptions(max_steps=60))
    result = prune_prepared(graph, graph, samples_of(graph, 120), options)
    assert set(result.kept) >= {"stem", "stem_relu"}
    fit = result.fit
    assert fit is not None
    assert fit.error is not None
    assert fit.error_before is not None
    assert fit.error < fit.error_before
    hints = hints_of(whole_block(graph), whole_block(result.graph), result.kept)
    (inside,) = [hint for value, hint in hints.items() if value.name == "stem_relu"]
    np.testing.assert_array_equal(inside.channels, result.kept["stem_relu"])
    pruned = {layer.name: layer.weights for layer in prunable_layers(result.graph)}
    for name in ("middle", "logits"):
        groups = pruned[name].reshape(-1, 4, pruned[name].shape[-1])
        assert (np.count_nonzero(groups, axis=1) == 2).all()
    assert np.count_nonzero(pruned["stem"]) == pruned["stem"].size
