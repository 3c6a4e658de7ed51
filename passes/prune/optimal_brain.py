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
    costs, order = _removals(weights, hessian, num_rows, num_rows, num_rows)
    # A removal comes after those before it in its column: their costs count for it too.
    ordered = np.maximum.accumulate(costs, axis=0)
    chosen = np.argsort(ordered, axis=None, kind="stable")[: round(sparsity * costs.size)]
    steps, gone = np.unravel_index(chosen, costs.shape)
    kept = np.ones(weights.shape, bool)
    kept[order[steps, gone], gone] = False
    return kept


def removal_kept_of_groups(
    weights: Array, hessian: Array, height: int, most: int, num_rows: int
) -> Array:
    """Which elements stay when `most` of every `height` neighbouring rows go from each column."""
    _, order = _removals(weights, hessian, num_rows, height, most)
    kept = np.ones(weights.shape, bool)
    kept[order, np.arange(weights.shape[1])] = False
    return kept


def _removals(
    weights: Array, hessian: Array, num_rows: int, height: int, most: int
) -> tuple[Array, Array]:
    """Costs and rows of the removals from each column [removals, columns], in their order.

    Of every `height` rows `most` go.
    """
    columns = np.arange(weights.shape[1])
    values = weights.T.copy()
    inverses = np.repeat(np.linalg.inv(hessian)[None], len(columns), axis=0)
    alive = np.ones((len(columns), num_rows // height, height), bool)
    num_removals = num_rows // height * most
    costs = np.zeros((num_removals, len(columns)))
    order = np.zeros((num_removals, len(columns)), np.int64)
    for step in range(num_removals):
        diagonals = np.einsum("cii->ci", inverses)[:, :num_rows]
        is_open = (np.count_nonzero(~alive, axis=2) < most)[:, :, None]
        candidates = (alive & is_open).reshape(len(columns), num_rows)
        losses = values[:, :num_rows] ** 2 / np.maximum(diagonals, 1e-30)
        losses = np.where(candidates, losses, np.inf)
        row = losses.argmin(axis=1)
        costs[step], order[step] = losses[columns, row], row
        alive[columns, row // height, row % height] = False
        line = inverses[columns, row]
        pivot = np.maximum(line[columns, row], 1e-30)
        values -= line * (values[columns, row] / pivot)[:, None]
        inverses -= line[:, :, None] * (line / pivot[:, None])[:, None, :]
        values[columns, row] = 0.0
    return costs, order
