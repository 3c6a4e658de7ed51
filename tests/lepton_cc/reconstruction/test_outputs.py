"""Fitting a whole network to its original's outputs, zeros kept."""

import numpy as np

from lepton_cc.ir.graph import Graph
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.quantize.layer_moments import MomentSums
from lepton_cc.passes.reconstruct.whiten import WhitenedLayer
from lepton_cc.reconstruction.outputs import FitOptions, fit_outputs
from tests.lepton_cc.reconstruction.small_networks import residual_network, samples_of


def _with_zeros(graph: Graph) -> Graph:
    """The graph without every third weight of the dense layers."""
    changed = {}
    for layer in prunable_layers(graph):
        if layer.groups == 1:
            weights = layer.weights.copy()
            weights.reshape(-1)[::3] = 0.0
            changed[layer.op.inputs[1]] = weights
    return with_constants(graph, changed)


def test_a_fit_halves_the_error_and_keeps_zeros() -> None:
    original = residual_network()
    zeroed = _with_zeros(original)
    fit = fit_outputs(original, zeroed, samples_of(original, 120), FitOptions(max_steps=160))
    assert fit.error is not None
    assert fit.error_before is not None
    assert fit.error < 0.5 * fit.error_before
    for old, new in zip(prunable_layers(zeroed), prunable_layers(fit.graph), strict=True):
        assert np.array_equal(old.weights == 0, new.weights == 0)


def test_few_samples_are_refused() -> None:
    original = residual_network()
    fit = fit_outputs(original, original, samples_of(original, 12), FitOptions())
    assert fit.graph is original
    assert fit.reason == "12 samples are too few"


def test_steps_of_whitened_weights_change_outputs_alike() -> None:
    random = np.random.default_rng(0)
    op = next(one.op for one in prunable_layers(residual_network()) if one.name == "point")
    sums = MomentSums(op, 100)
    mixed = random.normal(size=(100, 1, 6, 6, 8)).astype(np.float32) * 10.0 ** np.arange(-3, 5)
    for x in mixed.astype(np.float32):
        sums.observe(x, x)
    moments = sums.moments()
    layer = WhitenedLayer(op, np.ones((1, 1, 8, 8), np.float32), moments, np.full(8, 2.0))
    coordinates = np.eye(8, dtype=np.float32)[None]
    step, _ = layer.steps(coordinates, None)
    given = np.einsum("ko,kl,lo->o", step[0, 0], moments.centered().gram[0], step[0, 0])
    # Directions of less than the damping move less; the five largest move by the deviation.
    np.testing.assert_allclose(np.sqrt(given[-1:]), 2.0, rtol=0.05)
    assert np.all(np.sqrt(given) <= 2.01)
