"""Removing channels with data: what nobody misses goes first, and the rest makes up for it."""

import numpy as np
import pytest

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.pruning.options import PruneOptions, PruneResult
from lepton_cc.pruning.prune import prune_prepared
from lepton_cc.pruning.prune_channels import prune_channels
from lepton_cc.reconstruction.outputs import FitOptions
from tests.lepton_cc.reconstruction.small_networks import residual_network, samples_of


def _with_copies(graph: Graph) -> Graph:
    """The graph with each channel of the residual stream twice: four of its eight say nothing."""
    changed = {}
    for layer in prunable_layers(graph):
        if layer.groups > 1 or layer.name in ("stem", "point"):
            weights = layer.weights.copy()
            weights[..., 1::2] = weights[..., ::2]
            bias = np.repeat(np.asarray(layer.bias)[::2], 2)
            changed.update({layer.op.inputs[1]: weights, layer.op.inputs[2]: bias})
    return with_constants(graph, changed)


@pytest.fixture(scope="module")
def original() -> Graph:
    return _with_copies(residual_network())


@pytest.fixture(scope="module")
def pruned(original: Graph) -> PruneResult:
    return prune_channels(original, samples_of(original, 60), 0.5, ())


def test_copies_of_channels_are_not_missed(original: Graph, pruned: PruneResult) -> None:
    widths = {layer.name: layer.channels for layer in pruned.layers}
    assert widths["stem"] == widths["point"] == widths["wide"] == (8, 4)
    assert widths["logits"] == (4, 4)
    x = {"x": np.random.default_rng(7).normal(size=(1, 6, 6, 3)).astype(np.float32)}
    np.testing.assert_allclose(
        interpret(pruned.graph, x)["y"], interpret(original, x)["y"], rtol=0.05, atol=0.02
    )


def test_what_each_group_costs_never_falls(pruned: PruneResult) -> None:
    assert pruned.sensitivities
    for one in pruned.sensitivities:
        assert list(one.errors) == sorted(one.errors)
        assert len(one.errors) == len(one.levels)


def test_a_fit_gives_back_part_of_what_channels_took() -> None:
    original = residual_network(seed=4)
    options = PruneOptions(0.25, channels=True, fit=FitOptions(max_steps=60))
    result = prune_prepared(original, original, samples_of(original, 120), options)
    fit = result.fit
    assert fit is not None
    assert fit.error is not None
    assert fit.error_before is not None
    assert fit.error < 0.8 * fit.error_before
    assert set(result.kept) >= {"stem", "stem_relu", "total_relu"}
    assert all(len(channels) == 6 for channels in result.kept.values())
