"""Coordinates of a layer's weights: inputs are uncorrelated there, outputs of one size.

Gradient descent needs far fewer steps there: the same step then changes every output by about as
much (LeCun et al., Efficient BackProp, 1998, section 4.3; Desjardins et al., Natural Neural
Networks, 2015).
"""

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.layer_moments import (
    LayerMoments,
    grouped_weights,
    ungrouped_weights,
)

# Share of the mean variance that is added to all.
_DAMPING = 1e-2


class WhitenedLayer:
    """Weights W = mask * (S V d) and bias b = d u - m W, for coordinates V [G, K, O / G] and u [O].

    S is the inverse root of the covariance of what is read, m its mean, d the deviation of each
    output. Zeros of `weights` stay zero.
    """

    def __init__(self, op: Op, weights: Array, moments: LayerMoments, deviations: Array) -> None:
        self._op = op
        self._mask = grouped_weights(op, (weights != 0).astype(np.float32))
        centered = moments.centered().gram
        size = centered.shape[-1]
        mean = np.einsum("gkk->g", centered)[:, None, None] / size
        values, vectors = np.linalg.eigh(
            centered + _DAMPING * np.where(mean > 0, mean, 1.0) * np.eye(size)
        )
        scaled = vectors / np.sqrt(values)[:, None, :]
        self._root = (scaled @ vectors.transpose(0, 2, 1)).astype(np.float32)
        self._means = moments.mean_x.astype(np.float32)
        groups = len(self._mask)
        floor = max(float(deviations.mean()) * 1e-3, 1e-12)
        self._deviations = np.maximum(deviations, floor).astype(np.float32).reshape(groups, 1, -1)

    def gradients(self, weights: Array, bias: Array | None) -> tuple[Array, Array | None]:
        """Of the coordinates, from those of the weights and the bias."""
        own = grouped_weights(self._op, weights)
        if bias is not None:
            by_group = bias.reshape(len(own), 1, -1)
            own = own - self._means[:, :, None] * by_group
            bias = bias * self._deviations.reshape(-1)
        return self._root @ (self._mask * own) * self._deviations, bias

    def steps(self, weights: Array, bias: Array | None) -> tuple[Array, Array | None]:
        """Of the weights, as the op holds them, and the bias, from those of the coordinates."""
        own = self._mask * (self._root @ (weights * self._deviations))
        if bias is not None:
            shifts = np.einsum("gk,gko->go", self._means, own).reshape(-1)
            bias = bias * self._deviations.reshape(-1) - shifts
        return ungrouped_weights(own, self._op.inputs[1].type.dims), bias
