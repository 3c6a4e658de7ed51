"""Means and mean squares of what contractions read, and what they say about rounded weights."""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class ChannelMoments:
    """Mean and mean square of each channel (the last axis) over all samples, f64[C]."""

    means: Array
    squares: Array


def _by_weight(op: Op, per_channel: Array) -> Array | None:
    """Figures of the input's channels, broadcast to the weights that they are multiplied with.

    [C / groups, O] of a convolution, [K, 1] of a product; None of others.
    """
    kind = op.kind
    weights = op.inputs[1].type.dims
    if isinstance(kind, MatMul) and len(weights) == 2:
        return per_channel[:, None]
    if isinstance(kind, Conv):
        rows, outputs = weights[-2:]
        by_group = per_channel.reshape(kind.groups, rows)
        return np.repeat(by_group, outputs // kind.groups, axis=0).T
    return None


def importance(op: Op, moments: ChannelMoments) -> Array | None:
    """How much an error of each weight counts: the mean square of its factor."""
    squares = _by_weight(op, moments.squares)
    if squares is None:
        return None
    # A channel that was never active must not make its weights arbitrary.
    floor = float(squares.mean()) * 1e-3
    return np.maximum(squares, floor) if floor > 0 else None


def mean_shift(op: Op, moments: ChannelMoments, errors: Array) -> Array | None:
    """The mean over samples and positions of what is missing from each output, f64[O].

    `errors` [..., O] are the weights less the rounded ones. Padding counts as the share of
    positions at which it is under a tap. Nagel et al., Data-Free Quantization, 2019, section 4.2,
    with measured means.
    """
    means = _by_weight(op, moments.means)
    if means is None:
        return None
    if not isinstance(op.kind, Conv):
        return np.asarray((errors * means).sum(axis=0))
    spatial = op.inputs[0].type.dims[1:-1]
    inside = np.ones((1, *spatial, 1), np.float32)
    shares = [float(view.mean()) for _, view in op.kind.window.taps(inside, 0.0)]
    taps = errors.reshape(math.prod(errors.shape[:-2]), *errors.shape[-2:])
    by_tap = (taps * means).sum(axis=1)
    return np.asarray((by_tap * np.asarray(shares)[:, None]).sum(axis=0))
