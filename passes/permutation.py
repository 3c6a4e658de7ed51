"""Permutations of dimensions: the arithmetic that layout propagation is made of.

A permutation p stands for `Transpose(p)`: the result's dimension i is the source's dimension p[i].
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.ir.types import Dim

Permutation = tuple[int, ...]


def identity(rank: int) -> Permutation:
    """The permutation that moves nothing."""
    return tuple(range(rank))


def compose(first: Permutation, second: Permutation) -> Permutation:
    """What `first` and then `second` do together."""
    return tuple(first[axis] for axis in second)


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that undoes this one."""
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


def extended(permutation: Permutation, rank: int) -> Permutation:
    """The permutation on `rank` dimensions that leaves the new leading ones where they are."""
    lead = rank - len(permutation)
    return identity(lead) + tuple(axis + lead for axis in permutation)


def moves_nothing(shape: Sequence[Dim], permutation: Permutation) -> bool:
    """True if transposing `shape` moves dimensions of size 1 only: a reshape does the same."""
    wide = [axis for axis in permutation if shape[axis] != 1]
    return wide == sorted(wide)


def between(source: Sequence[object], target: Sequence[object]) -> Permutation:
    """The permutation that orders distinct labels `source` as `target`."""
    return tuple(source.index(label) for label in target)


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring dimensions (none of size 1) that a reshape regroups among themselves."""

    source_axes: tuple[int, ...]
    target_axes: tuple[int, ...]


def reshape_groups(source: Sequence[int], target: Sequence[int]) -> tuple[Group, ...] | None:
    """The finest groups of a reshape from `source` to `target`; None if a dimension is empty.

    Each group's dimensions have the same product on both sides; dimensions of size 1 are in none.
    """
    if 0 in source or 0 in target:
        return None
    left = [axis for axis, dim in enumerate(source) if dim != 1]
    right = [axis for axis, dim in enumerate(target) if dim != 1]
    groups: list[Group] = []
    while left:
        taken, given = [left.pop(0)], [right.pop(0)]
        product, wanted = source[taken[0]], target[given[0]]
        while product != wanted:
            if product < wanted:
                taken.append(left.pop(0))
                product *= source[taken[-1]]
            else:
                given.append(right.pop(0))
                wanted *= target[given[-1]]
        groups.append(Group(tuple(taken), tuple(given)))
    return tuple(groups)
