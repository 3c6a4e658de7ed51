"""Which weights of a small matrix may go: one after the other, the cheapest first, exactly.

Frantar and Alistarh, Optimal Brain Compression (2022), algorithm 1 and section 4.1: each column is
pruned to nothing on its own, and what each removal costs decides between columns afterwards.
"""

import numpy as np

from lepton_cc.ir.tensor import Array

# Every column has an inverse Hessian of its own: time grows with the cube of the rows.
MOST_ROWS = 160


def removal_kept(weights: Array, hessian: Array, sparsity: float, num_rows: int) -> Array:
    """Which elements stay, bool[rows, columns], when `sparsity` of the first `num_rows` rows go."""
    columns = np.arange(weights.shape[1])
    values = weights.T.copy()
    inverses = np.repeat(np.linalg.inv(hessian)[None], len(columns), axis=0)
    alive = np.ones((len(columns), num_rows), bool)
    costs = np.zeros((num_rows, len(columns)))
    order = np.zeros((num_rows, len(columns)), np.int64)
    for step in range(num_rows):
        diagonals = np.einsum("cii->ci", inverses)[:, :num_rows]
        losses = np.where(alive, values[:, :num_rows] ** 2 / np.maximum(diagonals, 1e-30), np.inf)
        row = losses.argmin(axis=1)
        costs[step], order[step] = losses[columns, row], row
        alive[columns, row] = False
        line = inverses[columns, row]
        pivot = np.maximum(line[columns, row], 1e-30)
        values -= line * (values[columns, row] / pivot)[:, None]
        inverses -= line[:, :, None] * (line / pivot[:, None])[:, None, :]
        values[columns, row] = 0.0
    # A removal comes after those before it in its column: their costs count for it too.
    ordered = np.maximum.accumulate(costs, axis=0)
    chosen = np.argsort(ordered, axis=None, kind="stable")[: round(sparsity * costs.size)]
    steps, gone = np.unravel_index(chosen, costs.shape)
    kept = np.ones(weights.shape, bool)
    kept[order[steps, gone], gone] = False
    return kept
