"""Index nests: the constant indices of a gather as few loops, which DMA packets can step through.

`select` asks whether there are few enough, `movement_packets` copies nest by nest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_NESTS = 32


@dataclass(frozen=True, slots=True)
class IndexNest:
    """Indices `first + i outer_step + j inner_step`, i < outer_count, j < inner_count, i slower.

    They are those of the results from `position` on.
    """

    position: int
    first: int
    outer_count: int
    outer_step: int
    inner_count: int
    inner_step: int


def index_nests(indices: Sequence[int]) -> tuple[IndexNest, ...]:
    """Indices in order: one nest if loops of two levels are enough, else one for each even run.

    0 0 1 1 2 2, of a nearest resize by 2, is one: three steps of 1, each of two steps of 0.
    """
    size = len(indices)
    for inner in (size, *(n for n in range(2, size // 2 + 1) if size % n == 0)):
        nest = _nest(indices, inner)
        if nest is not None:
            return (nest,)
    return tuple(_even_runs(indices))


def _nest(indices: Sequence[int], inner: int) -> IndexNest | None:
    table = np.asarray(indices, np.int64).reshape(-1, inner)
    outer = len(table)
    outer_step = int(table[1, 0] - table[0, 0]) if outer > 1 else 0
    inner_step = int(table[0, 1] - table[0, 0]) if inner > 1 else 0
    steps = outer_step * np.arange(outer)[:, None] + inner_step * np.arange(inner)
    if not np.array_equal(table, table[0, 0] + steps):
        return None
    return IndexNest(0, int(table[0, 0]), outer, outer_step, inner, inner_step)


def _even_runs(indices: Sequence[int]) -> list[IndexNest]:
    runs = []
    position = 0
    while position < len(indices):
        end = position + 1
        step = indices[end] - indices[position] if end < len(indices) else 0
        while end < len(indices) and indices[end] - indices[end - 1] == step:
            end += 1
        runs.append(IndexNest(position, indices[position], 1, 0, end - position, step))
        position = end
    return runs
