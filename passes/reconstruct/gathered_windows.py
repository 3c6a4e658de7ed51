"""What convolutions multiply with their weights, gathered a kernel row at a time.

A row of a kernel is one run of memory where channels come last: runs are copied several times as
fast as single taps.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array


def is_pointwise(window: Window) -> bool:
    """Whether every position is read once, alone and in place."""
    return (
        all(n == 1 for n in (*window.size, *window.strides))
        and not any(window.low)
        and not any(window.high)
    )


def gathered(window: Window, x: Array) -> Array:
    """The rows [N * positions, taps * C] of x [N, *S, C]; padding is zero."""
    if is_pointwise(window):
        return x.reshape(-1, x.shape[-1])
    out = window.output_dims(x.shape[1:-1])
    given = window.padded(x, 0) if any(window.low + window.high) else np.ascontiguousarray(x)
    batch, *spatial, channel = given.strides
    steps = [stride * n for stride, n in zip(spatial, window.strides, strict=True)]
    taps = [stride * n for stride, n in zip(spatial, window.dilations, strict=True)]
    sizes = [*window.size, x.shape[-1]]
    if window.dilations[-1] == 1:
        sizes[-2:], taps = [sizes[-2] * sizes[-1]], taps[:-1]
    view = as_strided(
        given, (len(x), *out, *sizes), (batch, *steps, *taps, channel), writeable=False
    )
    return view.reshape(len(x) * math.prod(out), -1)


def input_gradient(window: Window, weights: Array, dy: Array, dims: tuple[int, ...]) -> Array:
    """The gradient [N, *dims, C] for strides of one: a convolution with the weights turned around.

    weights: [*K, C, O]; dy: [N, *out, O].
    """
    reach = [(n - 1) * d for n, d in zip(window.size, window.dilations, strict=True)]
    turned = Window(
        window.size,
        window.strides,
        window.dilations,
        tuple(r - lo for r, lo in zip(reach, window.low, strict=True)),
        tuple(r - hi for r, hi in zip(reach, window.high, strict=True)),
    )
    axes = tuple(range(window.rank))
    matrix = np.flip(weights, axes).swapaxes(-1, -2).reshape(-1, weights.shape[-2])
    return (gathered(turned, dy) @ matrix).reshape(len(dy), *dims, weights.shape[-2])
