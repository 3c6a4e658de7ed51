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
    y = np.zeros((), np.float32) if len(operands) < 3 else operands[2]
    for number, (_, view) in enumerate(op.kind.window.taps(x, 0)):
        y = y + view * flat[number]
    return y


def depthwise_taps(
    op: Op, operands: Sequence[Array], dy: Array
) -> tuple[list[Array], tuple[Array, ...]]:
    """What every tap gives back to x, and the gradients of the weights and the bias."""
    assert isinstance(op.kind, Conv)
    x, weights = operands[:2]
    flat = weights.reshape(-1, weights.shape[-1])
    found = [column_sums(view * dy) for _, view in op.kind.window.taps(x, 0)]
    d_bias = (column_sums(dy),) if len(operands) > 2 else ()
    return [dy * one for one in flat], (np.stack(found).reshape(weights.shape), *d_bias)


def column_sums(x: Array) -> Array:
    """Sums over all but the last dimension, as a product: several times as fast as `numpy.sum`."""
    flat = x.reshape(-1, x.shape[-1])
    return np.asarray(np.ones(len(flat), x.dtype) @ flat)
