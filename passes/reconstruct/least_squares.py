"""The weights of one layer that come nearest to wanted outputs, zeros kept: a closed form."""

from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.reconstruct.damping import chosen_damping
from lepton_cc.passes.reconstruct.output_moments import FitMoments, merged


@dataclass(frozen=True, slots=True)
class LinearFit:
    """Weights [G, K, O], a bias [O] or None, and the shares of power missed before and now."""

    weights: Array
    bias: Array | None
    error_before: float
    error: float


def fit_layer(
    weights: Array, bias: Array | None, halves: tuple[FitMoments, FitMoments]
) -> LinearFit:
    """Weights and bias that miss the least of y; the zeros of `weights` [G, K, O] stay.

    Ridge regression towards the given weights: (S + d I) w = C + d w0, with the covariance S of
    what is read and C of it with what is wanted, over the rows that are not zero (Hoerl and
    Kennard, Ridge Regression, 1970). Columns with the same zeros are solved together.
    """

    def solve(moments: FitMoments, damping: float) -> Array:
        return _solved(weights, moments.centered(), damping)

    damping, moments = chosen_damping(halves, solve), merged(*halves)
    used = moments if bias is None else moments.centered()
    solved = _solved(weights, used, damping)
    before = _error_with_bias(weights, bias, moments)
    found = None if bias is None else moments.best_bias(solved)
    return LinearFit(solved, found, before, used.relative_error(solved))


def _solved(weights: Array, used: FitMoments, damping: float) -> Array:
    hessian, target = _normal_equations(weights, used, damping)
    return np.stack(
        [
            _masked(one, goal, given != 0)
            for one, goal, given in zip(hessian, target, weights, strict=True)
        ]
    )


def damped(gram: Array, damping: float) -> Array:
    """[G, K, K] with a small multiple of the mean variance added to it: positive definite."""
    size = gram.shape[-1]
    variance = np.einsum("gkk->g", gram)[:, None, None] / size
    return np.asarray(gram + damping * np.where(variance > 0, variance, 1.0) * np.eye(size))


def ridge_target(weights: Array, moments: FitMoments, damping: float) -> Array:
    """The weights [G, K, O] without zeros that miss the least of y, near to the given ones."""
    return np.linalg.solve(*_normal_equations(weights, moments, damping))


def _normal_equations(weights: Array, moments: FitMoments, damping: float) -> tuple[Array, Array]:
    hessian = damped(moments.gram, damping)
    return hessian, moments.cross + (hessian - moments.gram) @ weights


def _error_with_bias(weights: Array, bias: Array | None, moments: FitMoments) -> float:
    """The share of the (centered, if there is a bias) power that is missed as things are."""
    if bias is None:
        return moments.relative_error(weights)
    centered = moments.centered()
    total = float(np.sum(centered.power))
    shift = moments.best_bias(weights) - bias
    return centered.relative_error(weights) + (float(np.sum(shift**2)) / total if total else 0.0)


def _masked(hessian: Array, target: Array, alive: Array) -> Array:
    result = np.zeros_like(target)
    by_pattern: dict[bytes, list[int]] = {}
    for column in range(target.shape[1]):
        by_pattern.setdefault(alive[:, column].tobytes(), []).append(column)
    for places in by_pattern.values():
        columns = np.asarray(places)
        (rows,) = np.nonzero(alive[:, columns[0]])
        if len(rows):
            part = hessian[np.ix_(rows, rows)]
            result[np.ix_(rows, columns)] = np.linalg.solve(part, target[np.ix_(rows, columns)])
    return result
