"""Second moments of what a layer reads, summed over samples: the Hessian of its squared error."""

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import PrunableLayer

# Share of the mean diagonal that is added to it: columns that were never active stay solvable.
_DAMPING = 1e-3
# Rows that are multiplied at a time.
_BATCH = 1024


class LayerMoments:
    """Sums of x x^T of a layer's rows x, and of x y^T with the rows y that it was made for.

    Memory does not grow with the number of samples.
    """

    def __init__(self, layer: PrunableLayer) -> None:
        self._layer = layer
        rows = layer.matrices.shape[1]
        self._own = np.zeros((layer.groups, rows, rows))
        self._cross = np.zeros_like(self._own)
        self._waiting: list[tuple[Array, Array]] = []

    def observe(self, x: Array, original: Array) -> None:
        """Takes in a sample's input of the changed graph, and that of the original one."""
        self._waiting.append((self._layer.input_rows(x), self._layer.input_rows(original)))
        if sum(own.shape[1] for own, _ in self._waiting) >= _BATCH:
            self._add()

    def _add(self) -> None:
        if not self._waiting:
            return
        own, first = (np.concatenate(parts, axis=1) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._own += np.matmul(own.transpose(0, 2, 1), own)
        self._cross += np.matmul(own.transpose(0, 2, 1), first)

    @property
    def hessian(self) -> Array:
        """f64[groups, rows, rows], positive definite."""
        self._add()
        return damped(self._own)

    def best_dense(self) -> Array:
        """The weights [groups, rows, columns] that give the original outputs best, none zero."""
        matrices = self._layer.matrices
        hessian = self.hessian
        ridge = hessian - self._own
        return np.linalg.solve(hessian, np.matmul(self._cross + ridge, matrices))


def damped(moments: Array) -> Array:
    """[groups, n, n] with a small multiple of the mean diagonal added to it."""
    size = moments.shape[-1]
    mean = np.trace(moments, axis1=1, axis2=2)[:, None, None] / size
    return np.asarray(moments + np.where(mean > 0, mean, 1.0) * _DAMPING * np.eye(size))
