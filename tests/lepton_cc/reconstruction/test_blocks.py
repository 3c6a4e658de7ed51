"""Block-wise reconstruction: layers make up for each other, zeros stay, nothing gets worse."""

import numpy as np
import pytest

from lepton_cc.ir.graph import Graph
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.reconstruct.descend import Descent
from lepton_cc.reconstruction.blocks import BlockOptions, reconstruct_blocks
from tests.lepton_cc.reconstruction.small_networks import residual_network, samples_of


@pytest.fixture(scope="module")
def original() -> Graph:
    return residual_network()


def _without_smallest(graph: Graph) -> Graph:
    changed = {}
    for layer in prunable_layers(graph):
        small = np.abs(layer.weights) < np.quantile(np.abs(layer.weights), 0.4)
        changed[layer.op.inputs[1]] = np.where(small, np.float32(0), layer.weights)
    return with_constants(graph, changed)


def test_blocks_learn_what_was_lost_and_zeros_stay(original: Graph) -> None:
    pruned = _without_smallest(original)
    options = BlockOptions(descent=Descent(num_steps=60, batch=16, rate=2e-2))
    done = reconstruct_blocks(original, pruned, samples_of(original, 48), options)
    assert [one.name for one in done.layers] == ["total_relu", "logits"]
    for one in done.layers:
        assert one.error is not None
        assert one.error_before is not None
        assert one.error < 0.6 * one.error_before
    for before, after in zip(prunable_layers(pruned), prunable_layers(done.graph), strict=True):
        assert np.all(after.weights[before.weights == 0] == 0)


def test_what_is_as_it_should_be_stays(original: Graph) -> None:
    options = BlockOptions(descent=Descent(num_steps=8, batch=4))
    done = reconstruct_blocks(original, original, samples_of(original, 16), options)
    for before, after in zip(prunable_layers(original), prunable_layers(done.graph), strict=True):
        np.testing.assert_array_equal(before.weights, after.weights)
