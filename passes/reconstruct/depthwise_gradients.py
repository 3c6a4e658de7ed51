"""Forward and backward steps of convolutions by depth: sums over taps, no products of matrices."""

from collections.abc import Sequence

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.tensor import Array


def is_by_depth(op: Op) -> bool:
    """Whether each channel has a window of its own and gives one channel."""
    channels = op.inputs[0].type.dims[-1]
    return isinstance(op.kind, Conv) and op.kind.groups == channels == op.result.type.dims[-1] > 1


def depthwise(op: Op, operands: Sequence[Array]) -> Array:
    """x [N, *S, C], weights [*K, 1, C], bias [C]."""
    assert isinstance(op.kind, Conv)
    x, weights = operands[:2]
    flat = weights.reshape(-1, weights.shape[-1])
    taps = [view * flat[n] for n, (_, view) in enumerate(op.kind.window.taps(x, 0))]
    y = taps[0]
    for tap in taps[1:]:
        y += tap
    if len(operands) > 2:
        y += operands[2]
    return np.asarray(y)


def depthwise_taps(op: Op, operands: Sequence[Array], dy: Array) -> list[Array]:
    """What every tap gives back to x."""
    weights = operands[1]
    return [dy * one for one in weights.reshape(-1, weights.shape[-1])]


def depthwise_weights(op: Op, operands: Sequence[Array], dy: Array) -> Array:
    """The gradient of the weights."""
    assert isinstance(op.kind, Conv)
    x, weights = operands[:2]
    found = [column_sums(view * dy) for _, view in op.kind.window.taps(x, 0)]
    return np.stack(found).reshape(weights.shape)


def column_sums(x: Array) -> Array:
    """Sums over all but the last dimension, as a product: several times as fast as `numpy.sum`."""
    flat = x.reshape(-1, x.shape[-1])
    return np.asarray(np.ones(len(flat), x.dtype) @ flat)
