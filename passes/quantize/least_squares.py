"""Real weights that make the most of rounded inputs: what a layer's integers are to be near to.

The layer read y in floats and reads x now: of all weights W, those with the least mean square of
x W - y V (V its own), pulled towards V by a ridge. Weights that were pruned away stay 0.
"""

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.layer_moments import LayerMoments

_NUM_STEPS = 60
_TOLERANCE = 1e-12
_ROUNDING = 1e-6


def damped(moments: LayerMoments, damping: float) -> tuple[Array, Array]:
    """The gram matrix with a ridge, and the ridge [G, K, K].

    The ridge is `damping` of the mean square of what the weights are multiplied with; more where
    there are fewer positions than weights.
    """
    depth = moments.gram.shape[1]
    mean_square = np.einsum("gkk->gk", moments.gram).mean(axis=1)
    share = damping * max(1.0, depth / max(moments.num_positions, 1))
    # Covariances of values that hardly change are differences of nearly equal sums.
    noise = _ROUNDING * (mean_square + np.square(moments.mean_x).mean(axis=1))
    strength = np.maximum(share * mean_square, noise)
    strength = np.where(strength > 0, strength, 1.0)
    ridge = strength[:, None, None] * np.eye(depth)
    return moments.gram + ridge, ridge


def adapted_weights(
    original: Array, moments: LayerMoments, damping: float, kept: Array | None
) -> tuple[Array, Array]:
    """Weights [G, K, O] for x, and the damped gram matrix that they are measured with."""
    gram, ridge = damped(moments, damping)
    wanted = moments.cross @ original + ridge @ original
    if kept is None:
        return np.linalg.solve(gram, wanted), gram
    return _conjugate_gradients(gram, wanted, original, kept), gram


def _conjugate_gradients(gram: Array, wanted: Array, start: Array, kept: Array) -> Array:
    """Solves gram W = wanted for each output among the weights that it keeps."""
    found = start * kept
    left = (wanted - gram @ found) * kept
    direction = left.copy()
    power = np.sum(left * left, axis=1, keepdims=True)
    enough = _TOLERANCE * np.sum(wanted * wanted, axis=1, keepdims=True)
    for _ in range(_NUM_STEPS):
        going = power > enough
        if not going.any():
            break
        image = (gram @ direction) * kept
        curvature = np.sum(direction * image, axis=1, keepdims=True)
        length = np.where(going, power / np.where(curvature > 0, curvature, 1.0), 0.0)
        found += length * direction
        left -= length * image
        previous, power = power, np.sum(left * left, axis=1, keepdims=True)
        direction = left + np.where(going, power / np.where(previous > 0, previous, 1.0), 0) * (
            direction
        )
    return np.asarray(found)
