"""Layer-wise reconstruction gives back what compression took, as far as one layer can."""

import numpy as np
import pytest

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.reconstruction.layers import reconstruct_layers
from tests.lepton_cc.reconstruction.small_networks import residual_network, samples_of


@pytest.fixture(scope="module")
def original() -> Graph:
    return residual_network()


def _disturbed(graph: Graph, *, zeros: bool) -> Graph:
    random = np.random.default_rng(3)
    changed = {}
    for layer in prunable_layers(graph):
        if zeros:
            small = np.abs(layer.weights) < np.quantile(np.abs(layer.weights), 0.3)
            changed[layer.op.inputs[1]] = np.where(small, np.float32(0), layer.weights)
        else:
            noise = random.normal(size=layer.weights.shape) * layer.weights.std() * 0.3
            changed[layer.op.inputs[1]] = (layer.weights + noise).astype(np.float32)
    return with_constants(graph, changed)


def _error(original: Graph, other: Graph) -> float:
    missed = power = 0.0
    for sample in samples_of(original, 40, seed=9).samples():
        wanted, got = (interpret(graph, sample)["y"] for graph in (original, other))
        missed += float(np.sum((wanted - got) ** 2))
        power += float(np.sum(wanted**2))
    return missed / power


def test_weights_that_noise_was_added_to_come_back(original: Graph) -> None:
    noisy = _disturbed(original, zeros=False)
    done = reconstruct_layers(original, noisy, samples_of(original, 60))
    assert _error(original, noisy) > 0.01
    assert _error(original, done.graph) < 1e-4
    assert all(one.error is not None and one.error < 1e-4 for one in done.layers)


def test_zeros_stay_zeros_and_the_rest_makes_up_for_them(original: Graph) -> None:
    pruned = _disturbed(original, zeros=True)
    done = reconstruct_layers(original, pruned, samples_of(original, 60))
    assert _error(original, done.graph) < 0.5 * _error(original, pruned)
    for before, after in zip(prunable_layers(pruned), prunable_layers(done.graph), strict=True):
        assert np.all(after.weights[before.weights == 0] == 0)
        assert np.any(after.weights != before.weights)


def test_layers_without_a_counterpart_are_named(original: Graph) -> None:
    other = residual_network(seed=5, inner_name="renamed")
    done = reconstruct_layers(original, other, samples_of(original, 8), keep=("stem",))
    reasons = {one.name: one.reason for one in done.layers}
    assert reasons["renamed"] == "the original has no value of its name and shape"
    assert reasons["stem"] == "it is to be kept"
    assert not reasons["point"]
