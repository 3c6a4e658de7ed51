"""Forward and backward steps of convolutions and pools: matrix products over gathered windows."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.layer_moments import grouped_weights, ungrouped_weights, window_rows
from lepton_cc.passes.reconstruct.depthwise_gradients import (
    column_sums,
    depthwise,
    depthwise_taps,
    depthwise_weights,
    is_by_depth,
)
from lepton_cc.passes.reconstruct.gathered_windows import gathered, input_gradient
from lepton_cc.passes.reconstruct.gradients import Rule, evaluated


def scattered(window: Window, taps: Iterable[Array], shape: tuple[int, ...]) -> Array:
    """The sum of what every tap adds to the input [N, *S, C] of `shape`: `Window.taps` reversed."""
    dims = shape[1:-1]
    padded = np.zeros((shape[0], *window.padded_dims(dims), shape[-1]), np.float32)
    for (_, steps), tap in zip(window.steps(window.output_dims(dims)), taps, strict=True):
        padded[steps] += tap
    x = np.zeros(shape, np.float32)
    inner, crop = window.overlap(dims)
    x[crop] = padded[inner]
    return x


def _out_shape(op: Op, x: Array) -> tuple[int, ...]:
    return (len(x), *op.result.type.dims[1:])


def _conv(op: Op, operands: Sequence[Array]) -> Array:
    """The products of all windows with the weights, group by group."""
    assert isinstance(op.kind, Conv)
    if is_by_depth(op):
        return depthwise(op, operands)
    x, weights = operands[:2]
    if op.kind.groups == 1:
        y = gathered(op.kind.window, x) @ weights.reshape(-1, weights.shape[-1])
    else:
        y = (window_rows(op, x) @ grouped_weights(op, weights)).transpose(1, 0, 2)
    y = y.reshape(_out_shape(op, x))
    if len(operands) > 2:
        y += operands[2]
    return np.asarray(y)


def _conv_constants(op: Op, operands: Sequence[Array], dy: Array) -> tuple[Array, ...]:
    """The gradients of the weights and the bias."""
    assert isinstance(op.kind, Conv)
    x, weights = operands[:2]
    d_bias = (column_sums(dy),) if len(operands) > 2 else ()
    if is_by_depth(op):
        return (depthwise_weights(op, operands, dy), *d_bias)
    if op.kind.groups == 1:
        flat = dy.reshape(-1, dy.shape[-1])
        return ((flat.T @ gathered(op.kind.window, x)).T.reshape(weights.shape), *d_bias)
    by_group = _by_group(op, dy)
    rows = window_rows(op, x)
    return (ungrouped_weights(rows.transpose(0, 2, 1) @ by_group, weights.shape), *d_bias)


def _by_group(op: Op, dy: Array) -> Array:
    assert isinstance(op.kind, Conv)
    groups = op.kind.groups
    return dy.reshape(-1, groups, dy.shape[-1] // groups).transpose(1, 0, 2)


def _conv_input(op: Op, operands: Sequence[Array], dy: Array) -> Array:
    """The gradient of what is read."""
    assert isinstance(op.kind, Conv)
    x, weights = operands[:2]
    window, groups = op.kind.window, op.kind.groups
    if is_by_depth(op):
        return scattered(window, depthwise_taps(op, operands, dy), x.shape)
    if groups == 1 and set(window.strides) == {1}:
        return input_gradient(window, weights, dy, x.shape[1:-1])
    d_rows = _by_group(op, dy) @ grouped_weights(op, weights).transpose(0, 2, 1)
    num_taps = int(np.prod(window.size))
    split = d_rows.reshape(groups, -1, num_taps, weights.shape[-2]).transpose(2, 1, 0, 3)
    taps = split.reshape(num_taps, *dy.shape[:-1], x.shape[-1])
    return scattered(window, list(taps), x.shape)


def _conv_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    return (_conv_input(op, operands, dy), *_conv_constants(op, operands, dy))


def _is_global(op: Op) -> bool:
    """Whether one window sees the whole map, and nothing else."""
    assert isinstance(op.kind, AveragePool)
    window = op.kind.window
    return window.size == op.inputs[0].type.dims[1:-1] and not any(window.low + window.high)


def _average(op: Op, operands: Sequence[Array]) -> Array:
    if not _is_global(op):
        return evaluated(op, operands)
    return np.asarray(operands[0].mean(axis=tuple(range(1, operands[0].ndim - 1)), keepdims=True))


def _average_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    assert isinstance(op.kind, AveragePool)
    (x,) = operands
    if _is_global(op):
        share = dy / np.float32(np.prod(op.kind.window.size))
        return (np.broadcast_to(share, x.shape),)
    share = dy / op.kind.counts(x.shape[1:-1]).astype(np.float32)[..., None]
    count = int(np.prod(op.kind.window.size))
    return (scattered(op.kind.window, [share] * count, x.shape),)


def _max_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    """The first of several largest elements takes the gradient."""
    assert isinstance(op.kind, MaxPool)
    (x,) = operands
    left, taps = dy, []
    for _, view in op.kind.window.taps(x, -np.inf):
        taps.append(np.where(view == y, left, np.float32(0)))
        left = np.where(view == y, np.float32(0), left)
    return (scattered(op.kind.window, taps, x.shape),)


WINDOWED: Mapping[type[OpKind], Rule] = {
    Conv: Rule(_conv, _conv_backward, constants=_conv_constants),
    AveragePool: Rule(_average, _average_backward),
    MaxPool: Rule(evaluated, _max_backward),
}
