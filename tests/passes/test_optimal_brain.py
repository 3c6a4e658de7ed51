"""Zeros of n:m patterns, removed one by one."""

import itertools

import numpy as np
import pytest

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.optimal_brain import removal_kept_of_groups
from lepton_cc.passes.prune.pattern import TWO_OF_FOUR
from lepton_cc.passes.prune.second_order import choose_kept, refitted, relative_error

_RANDOM = np.random.default_rng(0)


def _hessian(rows: int) -> Array:
    mixed = np.random.default_rng(1).normal(size=(4 * rows, rows))
    mixed[:, 1:] += 0.8 * mixed[:, :-1]
    return np.asarray(mixed.T @ mixed)


def _error(weights: Array, hessian: Array, kept: Array) -> float:
    return relative_error(weights[None], refitted(weights, hessian, kept)[None], hessian[None])


def test_two_of_four_removed_one_by_one_come_near_the_best_of_all_masks() -> None:
    weights, hessian = _RANDOM.normal(size=(8, 6)), _hessian(8)
    kept = removal_kept_of_groups(weights, hessian, 4, 2, 8)
    assert np.all(kept.reshape(2, 4, 6).sum(axis=1) == 2)
    pairs = [[n in pair for n in range(4)] for pair in itertools.combinations(range(4), 2)]
    masks = [np.array(one + other)[:, None] for one in pairs for other in pairs]
    found = best = 0.0
    for column in range(6):
        own = weights[:, column : column + 1]
        power = float(np.sum(own * (hessian @ own)))
        best += power * min(_error(own, hessian, mask) for mask in masks)
        found += power * _error(own, hessian, kept[:, column : column + 1])
    assert found < 1.2 * best


@pytest.mark.parametrize("one_by_one", [False, True])
def test_two_of_four_see_what_earlier_zeros_did(one_by_one: bool) -> None:
    """Better than the zeros that the first glance would choose, which no other zeros bear on."""
    weights, hessian = _RANDOM.normal(size=(64, 16)), _hessian(64)
    scores = weights**2 / np.diag(np.linalg.inv(hessian))[:, None]
    at_first = TWO_OF_FOUR.kept(scores, 0.5)
    kept = (
        removal_kept_of_groups(weights, hessian, 4, 2, 64)
        if one_by_one
        else choose_kept(weights, hessian, TWO_OF_FOUR, 0.5, 64)
    )
    assert _error(weights, hessian, kept) < 0.97 * _error(weights, hessian, at_first)
