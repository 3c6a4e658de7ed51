"""Layers are fitted as far as their samples can be trusted."""

import numpy as np
import pytest

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.reconstruct.damping import DAMPINGS, chosen_damping
from lepton_cc.passes.reconstruct.least_squares import fit_layer, ridge_target
from lepton_cc.passes.reconstruct.output_moments import OutputMoments, merged

_DEPTH, _OUTPUTS = 12, 3


def _product() -> Op:
    values = [
        Value(name, TensorType(DType.F32, dims))
        for name, dims in (("x", (1, _DEPTH)), ("w", (_DEPTH, _OUTPUTS)), ("y", (1, _OUTPUTS)))
    ]
    return Op(MatMul(), tuple(values[:2]), (values[2],))


def _observed(num_samples: int, noise: float) -> tuple[OutputMoments, np.ndarray]:
    """Rows whose wanted outputs are those of weights, and noise; and these weights."""
    random = np.random.default_rng(5)
    weights = random.normal(size=(_DEPTH, _OUTPUTS)).astype(np.float32)
    sums = OutputMoments(_product(), num_samples)
    for _ in range(num_samples):
        x = random.normal(size=(1, _DEPTH)).astype(np.float32) + 1
        y = x @ weights + 3 + noise * random.normal(size=(1, _OUTPUTS))
        sums.observe(x, y.astype(np.float32))
    return sums, weights


def test_weights_and_bias_are_found() -> None:
    sums, weights = _observed(400, 0.0)
    fit = fit_layer(np.ones((1, _DEPTH, _OUTPUTS)), np.zeros(_OUTPUTS), sums.halves())
    np.testing.assert_allclose(fit.weights[0], weights, atol=5e-3)
    assert fit.bias is not None
    np.testing.assert_allclose(fit.bias, 3, atol=5e-2)
    assert fit.error < 1e-4 < fit.error_before


def test_halves_make_the_whole() -> None:
    sums, weights = _observed(40, 0.1)
    first, second = sums.halves()
    whole = merged(first, second)
    assert (first.num_positions, second.num_positions, whole.num_positions) == (20, 20, 40)
    np.testing.assert_allclose(whole.gram, (first.gram + second.gram) / 2)
    given = weights[None].astype(np.float64)
    assert whole.centered().relative_error(given) < 0.02


@pytest.mark.parametrize(("num_samples", "trusted"), [(400, True), (16, False)])
def test_few_noisy_samples_are_trusted_less(num_samples: int, trusted: bool) -> None:
    sums, weights = _observed(num_samples, 2.0)
    damping = chosen_damping(
        sums.halves(),
        lambda moments, one: ridge_target(np.zeros_like(weights)[None], moments.centered(), one),
    )
    assert (damping <= DAMPINGS[1]) is trusted
