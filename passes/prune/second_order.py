"""Pruning a matrix of weights with second-order information: what goes is made up for by the rest.

Frantar and Alistarh, SparseGPT (2023), section 3: rows in order, each one's error spread over those
after it by the inverse Hessian. Then, for the zeros that this chose, the weights that are left are
solved for exactly: least squares in each column.
"""

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.optimal_brain import MOST_ROWS, removal_kept, removal_kept_of_groups
from lepton_cc.passes.prune.pattern import Pattern, PatternKind

# Rows whose zeros are chosen together; later ones have seen the errors of earlier ones. Of n:m
# patterns m rows are: no group of them bears on another's share.
_BLOCK = 64


def prune_matrix(
    weights: Array, hessian: Array, pattern: Pattern, sparsity: float, num_rows: int
) -> Array:
    """The matrix [rows, columns] with zeros, nearest to `weights` in what it gives.

    Rows from `num_rows` on have none: they are biases. hessian: f64[rows, rows], positive
    definite. Distances are tr(d^T H d).
    """
    if pattern == Pattern() and num_rows <= MOST_ROWS:
        kept = removal_kept(weights, hessian, sparsity, num_rows)
    elif pattern.kind is PatternKind.N_OF_M and num_rows <= MOST_ROWS:
        gone = pattern.rows - pattern.nonzeros
        kept = removal_kept_of_groups(weights, hessian, pattern.rows, gone, num_rows)
    else:
        kept = choose_kept(weights, hessian, pattern, sparsity, num_rows)
    return refitted(weights, hessian, kept)


def choose_kept(
    weights: Array, hessian: Array, pattern: Pattern, sparsity: float, num_rows: int
) -> Array:
    """Which elements stay, bool[rows, columns]."""
    rows, num_weights = num_rows, num_rows * weights.shape[1]
    factor = np.linalg.cholesky(np.linalg.inv(hessian)).T
    current = weights.copy()
    kept = np.ones(weights.shape, bool)
    at_once = 1 if pattern.kind is PatternKind.N_OF_M else max(_BLOCK // pattern.rows, 1)
    height = at_once * pattern.rows
    diagonal = np.diag(factor)
    for first in range(0, rows, height):
        last = min(first + height, rows)
        # Zeros are chosen with what is left of the matrix in view, so that no block of rows has to
        # give more than it can: its share is what the whole would take from it.
        scores = (current[first:rows] / diagonal[first:rows, None]) ** 2
        gone = np.count_nonzero(~kept[:first])
        left = max(0.0, min(1.0, (sparsity * num_weights - gone) / scores.size))
        kept[first:last] = pattern.kept(scores, left)[: last - first]
        for row in range(first, last):
            error = np.where(kept[row], 0.0, current[row]) / diagonal[row]
            current[row:] -= factor[row, row:, None] * error
    return kept


def refitted(weights: Array, hessian: Array, kept: Array) -> Array:
    """The least-squares weights among those that are zero where `kept` is not.

    Columns with the same zeros are solved together.
    """
    target = hessian @ weights
    result = np.zeros_like(weights)
    by_pattern: dict[bytes, list[int]] = {}
    for column in range(weights.shape[1]):
        by_pattern.setdefault(kept[:, column].tobytes(), []).append(column)
    for columns in by_pattern.values():
        places = np.asarray(columns)
        (alive,) = np.nonzero(kept[:, columns[0]])
        if len(alive):
            solved = np.linalg.solve(hessian[np.ix_(alive, alive)], target[np.ix_(alive, places)])
            result[np.ix_(alive, places)] = solved
    return result


def relative_error(
    weights: Array, changed: Array, hessian: Array, *, has_bias: bool = False
) -> float:
    """tr(d^T H d) over tr(w^T H w) of all groups: the share of the output that is lost.

    With a bias, the last row, that is the variance: means cost nothing.
    """
    difference = changed - weights
    lost = float(np.sum(difference * np.matmul(hessian, difference)))
    power = float(np.sum(weights * np.matmul(hessian, weights)))
    if has_bias:
        totals = np.matmul(hessian[:, -1:], weights)
        power -= float(np.sum(totals**2 / hessian[:, -1:, -1:]))
    return lost / power if power > 0 else 0.0
