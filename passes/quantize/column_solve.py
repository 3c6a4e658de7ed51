"""Rounding weights one row after the other, the rest making up for each row's error (GPTQ).

Frantar et al., GPTQ, 2022: the error of a rounded weight is spread over those that are not rounded
yet by the inverse of the second moments H of what they are multiplied with. Sweeps of coordinate
descent on the same quadratic form follow, which never make it worse. Outputs are independent given
H, so several scales are tried at once and each output takes its best.
"""

import numpy as np

from lepton_cc.ir.tensor import Array

_BLOCK = 64
_NUM_SWEEPS = 4
# Tried scales at a time are limited by what they take.
_MAX_ELEMENTS = 1 << 23


def quadratic_error(errors: Array, gram: Array) -> Array:
    """e^T H e for each output: errors [G, K, O], gram [G, K, K], the result [G, O]."""
    return np.asarray(np.einsum("gko,gko->go", errors, gram @ errors))


def steps_of_rows(scales: Array, weights: Array) -> Array:
    """Steps [G, O], or of each row [G, K, O], as a view with one for each of `weights`."""
    rows = scales[:, None, :] if scales.ndim < weights.ndim else scales
    return np.broadcast_to(rows, weights.shape)


def solve_columns(
    weights: Array,
    gram: Array,
    scales: Array,
    bounds: tuple[int, int],
    kept: Array | None = None,
) -> Array:
    """Integers [G, K, O] within `bounds` for weights [G, K, O] in steps of `scales`.

    scales: [G, O], or [G, K, O]. `gram` [G, K, K] is positive definite (damped). Weights that are
    not `kept` (bool[G, K, O]) become 0, and the others make up for that, too.
    """
    order = np.argsort(-np.einsum("gkk->gk", gram), axis=1, kind="stable")
    sorted_gram = np.take_along_axis(gram, order[:, :, None], axis=1)
    sorted_gram = np.take_along_axis(sorted_gram, order[:, None, :], axis=2)
    left = np.take_along_axis(weights, order[:, :, None], axis=1)
    steps = np.take_along_axis(steps_of_rows(scales, weights), order[:, :, None], axis=1)
    stays = None if kept is None else np.take_along_axis(kept, order[:, :, None], axis=1)
    upper = np.linalg.cholesky(np.linalg.inv(sorted_gram)).transpose(0, 2, 1)
    found = np.empty_like(left)
    depth = left.shape[1]
    for start in range(0, depth, _BLOCK):
        stop = min(start + _BLOCK, depth)
        errors = np.empty((left.shape[0], stop - start, left.shape[2]))
        for row in range(start, stop):
            integers = np.clip(np.rint(left[:, row] / steps[:, row]), *bounds)
            if stays is not None:
                integers *= stays[:, row]
            found[:, row] = integers
            error = (left[:, row] - integers * steps[:, row]) / upper[:, row, row, None]
            errors[:, row - start] = error
            spread = upper[:, row, row + 1 : stop, None] * error[:, None, :]
            left[:, row + 1 : stop] -= spread
        left[:, stop:] -= upper[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    integers = np.empty_like(found)
    np.put_along_axis(integers, order[:, :, None], found, axis=1)
    return integers


def descend(
    integers: Array,
    weights: Array,
    gram: Array,
    scales: Array,
    bounds: tuple[int, int],
    kept: Array | None = None,
) -> Array:
    """Moves each integer to its best value given the others, in sweeps; shapes as above."""
    best = integers.copy()
    steps = steps_of_rows(scales, weights)
    diagonal = np.einsum("gkk->gk", gram)
    pull = gram @ (weights - best * steps)
    for _ in range(_NUM_SWEEPS):
        changed = False
        for row in range(best.shape[1]):
            wanted = best[:, row] + pull[:, row] / (diagonal[:, row, None] * steps[:, row])
            moved = np.clip(np.rint(wanted), *bounds)
            if kept is not None:
                moved *= kept[:, row]
            step = (moved - best[:, row]) * steps[:, row]
            if not np.any(step):
                continue
            changed = True
            best[:, row] = moved
            pull -= gram[:, :, row, None] * step[:, None, :]
        if not changed:
            break
    return best


def best_scales(
    weights: Array,
    gram: Array,
    whole: Array,
    ratios: Array,
    bounds: tuple[int, int],
    kept: Array | None = None,
) -> Array:
    """Of the scales `whole` [G, O] times each ratio, those whose solution errs least."""
    best = np.full(whole.shape, np.inf)
    scales = whole.copy()
    at_once = max(1, _MAX_ELEMENTS // max(weights.size, 1))
    for start in range(0, len(ratios), at_once):
        tried_ratios = ratios[start : start + at_once]
        count, outputs = len(tried_ratios), whole.shape[1]
        tried = np.concatenate([whole * ratio for ratio in tried_ratios], axis=1)
        repeated = np.tile(weights, (1, 1, count))
        stays = None if kept is None else np.tile(kept, (1, 1, count))
        integers = solve_columns(repeated, gram, tried, bounds, stays)
        errors = quadratic_error(repeated - integers * tried[:, None, :], gram)
        for number in range(count):
            part = slice(number * outputs, (number + 1) * outputs)
            better = errors[:, part] < best
            scales = np.where(better, tried[:, part], scales)
            best = np.where(better, errors[:, part], best)
    return scales
