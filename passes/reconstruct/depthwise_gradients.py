"""Forward and backward steps of convolutions by depth: sums over taps, no products of matrices."""

from collections.abc import Iterator, Sequence

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
    y = np.zeros((len(x), *op.result.type.dims[1:]), np.float32)
    if len(operands) > 2:
        y += operands[2]
    product = np.empty_like(y)
    for (_, view), weight in zip(op.kind.window.taps(x, 0), flat, strict=True):
        y += np.multiply(view, weight, out=product)
    return y


def depthwise_taps(op: Op, operands: Sequence[Array], dy: Array) -> Iterator[Array]:
    """What every tap gives back to x, each until the next one is asked for."""
    weights = operands[1]
    product = np.empty_like(dy)
    for weight in weights.reshape(-1, weights.shape[-1]):
        yield np.multiply(dy, weight, out=product)


def depthwise_weights(op: Op, operands: Sequence[Array], dy: Array) -> Array:
    """The gradient of the weights."""
    assert isinstance(op.kind, Conv)
    x, weights = operands[:2]
    product = np.empty_like(dy)
    views = (view for _, view in op.kind.window.taps(x, 0))
    found = [column_sums(np.multiply(view, dy, out=product)) for view in views]
    return np.stack(found).reshape(weights.shape)


def column_sums(x: Array) -> Array:
    """Sums over all but the last dimension, as a product: several times as fast as `numpy.sum`."""
    flat = x.reshape(-1, x.shape[-1])
    return np.asarray(np.ones(len(flat), x.dtype) @ flat)
