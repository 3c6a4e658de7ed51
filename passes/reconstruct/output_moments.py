"""Moments of what a contraction reads and of what it should give: all that a linear fit needs.

However many samples there are, a K by K and a K by O matrix replace them.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.layer_moments import grouped_weights, ungrouped_weights, window_rows

# Elements of windows that are gathered before they are multiplied.
_BUFFER_ELEMENTS = 1 << 19
# Rows of a sample that are taken in any case, and those that all samples together should give.
_FEWEST_ROWS, _ENOUGH_ROWS = 16, 1 << 15


@dataclass(frozen=True, slots=True)
class FitMoments:
    """Means over P positions of rows x [G, K] of windows and of wanted outputs y [G, O].

    `gram` f64[G, K, K] is the mean of x x^T, `cross` f64[G, K, O] of x y^T, `power` f64[G, O] of
    y^2; `mean_x` and `mean_y` are means.
    """

    gram: Array
    cross: Array
    mean_x: Array
    mean_y: Array
    power: Array
    num_positions: int

    def centered(self) -> "FitMoments":
        """Covariances: what is left to weights where a bias makes up for means."""
        x, y = self.mean_x, self.mean_y
        return FitMoments(
            self.gram - x[:, :, None] * x[:, None, :],
            self.cross - x[:, :, None] * y[:, None, :],
            x,
            y,
            np.maximum(self.power - y**2, 0.0),
            self.num_positions,
        )

    def relative_error(self, weights: Array) -> float:
        """The share of the power of y that x times weights [G, K, O] misses."""
        total = float(np.sum(self.power))
        missed = total + float(np.sum(weights * (self.gram @ weights - 2 * self.cross)))
        return max(missed, 0.0) / total if total > 0 else 0.0

    def best_bias(self, weights: Array) -> Array:
        """The bias [O] with which no mean is missed."""
        left = self.mean_y - np.einsum("gk,gko->go", self.mean_x, weights)
        return np.asarray(left.reshape(-1))


def merged(one: FitMoments, other: FitMoments) -> FitMoments:
    """The moments of both together."""
    count = max(one.num_positions + other.num_positions, 1)
    first, second = one.num_positions / count, other.num_positions / count
    return FitMoments(
        one.gram * first + other.gram * second,
        one.cross * first + other.cross * second,
        one.mean_x * first + other.mean_x * second,
        one.mean_y * first + other.mean_y * second,
        one.power * first + other.power * second,
        one.num_positions + other.num_positions,
    )


class OutputMoments:
    """Takes in samples one after the other; its memory does not grow with their number.

    Of large maps every n-th position is taken, from another one on for each sample, so that
    `num_samples` of them make enough rows and not many more. Every other sample goes to another
    half, so that what one half was fitted to can be judged by the other.
    """

    def __init__(self, op: Op, num_samples: int) -> None:
        positions = op.result.type.num_elements // op.inputs[1].type.dims[-1]
        wanted = max(_FEWEST_ROWS, _ENOUGH_ROWS // max(num_samples, 1))
        self._op, self._every = op, max(1, positions // wanted)
        self._groups = op.kind.groups if isinstance(op.kind, Conv) else 1
        self._halves = _Sums(op, self._groups), _Sums(op, self._groups)
        self._count = 0

    def observe(self, x: Array, y: Array) -> None:
        """Adds what the op reads, and what it should give."""
        positions = slice(self._count // 2 % self._every, None, self._every)
        rows = window_rows(self._op, x, positions)
        wanted = y.reshape(-1, self._groups, y.shape[-1] // self._groups)[positions]
        self._halves[self._count % 2].add(rows, np.ascontiguousarray(wanted.transpose(1, 0, 2)))
        self._count += 1

    def halves(self) -> tuple[FitMoments, FitMoments]:
        """The means of every other sample so far, and of those between; one may be of none."""
        first, second = self._halves
        return first.moments(), second.moments()


class _Sums:
    """Sums over rows that are gathered before they are multiplied."""

    def __init__(self, op: Op, groups: int) -> None:
        weights = op.inputs[1].type.dims
        depth, outputs = math.prod(weights[:-1]), weights[-1] // groups
        self._gram = np.zeros((groups, depth, depth))
        self._cross = np.zeros((groups, depth, outputs))
        self._sum_x = np.zeros((groups, depth))
        self._sum_y = np.zeros((2, groups, outputs))
        self._count = 0
        self._waiting: list[tuple[Array, Array]] = []
        self._num_waiting = 0

    def add(self, x: Array, y: Array) -> None:
        """Rows x [G, P, K] and y [G, P, O]."""
        self._waiting.append((x, y))
        self._num_waiting += x.size
        if self._num_waiting >= _BUFFER_ELEMENTS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        x, y = (np.concatenate(parts, axis=1) for parts in zip(*self._waiting, strict=True))
        transposed = np.ascontiguousarray(x.transpose(0, 2, 1))
        self._gram += transposed @ x
        self._cross += transposed @ y
        self._sum_x += x.sum(axis=1, dtype=np.float64)
        self._sum_y += np.stack([np.sum(y, 1, np.float64), np.sum(y.astype(np.float64) ** 2, 1)])
        self._count += x.shape[1]
        self._waiting, self._num_waiting = [], 0

    def moments(self) -> FitMoments:
        """The means of all rows so far."""
        self._flush()
        count = max(self._count, 1)
        return FitMoments(
            self._gram / count,
            self._cross / count,
            self._sum_x / count,
            self._sum_y[0] / count,
            self._sum_y[1] / count,
            self._count,
        )


def num_moments(op: Op) -> int:
    """Elements of the second moments of a contraction."""
    weights = op.inputs[1].type.dims
    groups = op.kind.groups if isinstance(op.kind, Conv) else 1
    return groups * math.prod(weights[:-1]) * (math.prod(weights[:-1]) + weights[-1] // groups)


def matrices(op: Op, weights: Array) -> Array:
    """Weights as f64[G, K, O]."""
    return grouped_weights(op, weights.astype(np.float64))


def from_matrices(op: Op, solved: Array) -> Array:
    """The inverse of `matrices`, f32 in the shape of the op's weights."""
    return ungrouped_weights(solved, op.inputs[1].type.dims).astype(np.float32)
