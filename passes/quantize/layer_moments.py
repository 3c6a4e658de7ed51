"""Second moments of what a contraction multiplies its weights with: what rounding them must know.

A contraction is a set of matrix products: rows of windows [P, K] by weights [K, O], one for each of
G groups. The squared error of its results over all samples is a quadratic form of the weights'
errors, so that a K by K matrix replaces the samples, however many there are.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array

# Elements of windows that are gathered before they are multiplied.
_BUFFER_ELEMENTS = 1 << 20
# Rows of a sample that are taken in any case, and those that all samples together should give.
_FEWEST_ROWS, _ENOUGH_ROWS = 16, 1 << 15


def has_rows(op: Op) -> bool:
    """True if the op is a matrix product of its windows with constant weights."""
    if isinstance(op.kind, MatMul):
        return op.inputs[1].type.rank == 2
    return isinstance(op.kind, Conv)


def grouped_weights(op: Op, weights: Array) -> Array:
    """Weights as [G, K, O], K in the order of `window_rows`."""
    groups = op.kind.groups if isinstance(op.kind, Conv) else 1
    flat = weights.reshape(-1, groups, weights.shape[-1] // groups)
    return np.ascontiguousarray(flat.transpose(1, 0, 2))


def ungrouped_weights(grouped: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `grouped_weights`."""
    return np.asarray(np.ascontiguousarray(grouped.transpose(1, 0, 2)).reshape(shape))


def window_rows(op: Op, x: Array, positions: slice = slice(None)) -> Array:
    """What output positions multiply the weights with, [G, P, K]; of all, or of some of them."""
    if not isinstance(op.kind, Conv):
        return np.asarray(x.reshape(1, -1, x.shape[-1])[:, positions])
    taps = [view.reshape(-1, view.shape[-1])[positions] for _, view in op.kind.window.taps(x, 0)]
    rows = np.stack(taps, axis=-2)
    groups = op.kind.groups
    split = rows.reshape(-1, len(taps), groups, rows.shape[-1] // groups)
    return np.asarray(split.transpose(2, 0, 1, 3).reshape(groups, split.shape[0], -1))


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """Means over P positions, of x as it is rounded and of the float x that it stands for.

    `gram` f64[G, K, K] is the mean of x x^T, `cross` of x y^T with y the float x, `mean_x` and
    `mean_y` f64[G, K] are means.
    """

    gram: Array
    cross: Array
    mean_x: Array
    mean_y: Array
    num_positions: int

    def centered(self) -> "LayerMoments":
        """Covariances: for layers whose bias makes up for means."""
        return LayerMoments(
            self.gram - self.mean_x[:, :, None] * self.mean_x[:, None, :],
            self.cross - self.mean_x[:, :, None] * self.mean_y[:, None, :],
            self.mean_x,
            self.mean_y,
            self.num_positions,
        )


class MomentSums:
    """Takes in samples one after the other; its memory does not grow with their number.

    Of large maps every n-th position is taken, from another one on for each sample, so that
    `num_samples` of them make enough rows for the moments and not many more.
    """

    def __init__(self, op: Op, num_samples: int) -> None:
        self._op = op
        positions = op.result.type.num_elements // op.result.type.dims[-1]
        wanted = max(_FEWEST_ROWS, _ENOUGH_ROWS // max(num_samples, 1))
        self._every = max(1, positions // wanted)
        self._first = 0
        weights = op.inputs[1].type
        groups = op.kind.groups if isinstance(op.kind, Conv) else 1
        depth = math.prod(weights.dims[:-1])
        self._gram = np.zeros((groups, depth, depth))
        self._cross = np.zeros((groups, depth, depth))
        self._sums = np.zeros((2, groups, depth))
        self._count = 0
        self._waiting: list[tuple[Array, Array]] = []
        self._num_waiting = 0

    def observe(self, x: Array, y: Array) -> None:
        """Adds what the layer reads when quantized, and what it reads in floats."""
        positions = slice(self._first, None, self._every)
        self._first = (self._first + 1) % self._every
        rows = window_rows(self._op, x, positions), window_rows(self._op, y, positions)
        self._waiting.append(rows)
        self._num_waiting += rows[0].size
        if self._num_waiting >= _BUFFER_ELEMENTS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        x, y = (np.concatenate([pair[i] for pair in self._waiting], axis=1) for i in (0, 1))
        transposed = np.ascontiguousarray(x.transpose(0, 2, 1))
        self._gram += transposed @ x
        self._cross += transposed @ y
        self._sums += np.stack([one.sum(axis=1, dtype=np.float64) for one in (x, y)])
        self._count += x.shape[1]
        self._waiting, self._num_waiting = [], 0

    def moments(self) -> LayerMoments:
        """The means of all samples so far."""
        self._flush()
        count = max(self._count, 1)
        return LayerMoments(
            self._gram / count,
            self._cross / count,
            self._sums[0] / count,
            self._sums[1] / count,
            self._count,
        )
