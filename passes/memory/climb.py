"""Hill climbing over the order in which blocks are placed.

Runs after the plain heuristics and only while there is a gap to the lower bound. The number of
steps is a count of work and not of seconds, so that every machine finds the same plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lepton_cc.passes.memory.layout import GapRule, Layout, place, used_bytes

CLIMB_WORK = 250_000
"""Clearances looked at in one climb: about 0.2 s of a desktop core."""
CLIMB_ROUNDS_PER_BLOCK = 40
"""Few blocks have few orders: more rounds would try them again."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Offsets of a layout's blocks and the bytes that they need."""

    offsets: tuple[int, ...]
    used_bytes: int


def first_placements(layout: Layout, bound_bytes: int) -> tuple[Placed, tuple[int, ...]]:
    """Try a few natural orders under every rule; give the best placement and its order."""
    found: list[tuple[Placed, tuple[int, ...]]] = []
    for order in _natural_orders(layout):
        for rule in (GapRule.TIGHTEST, GapRule.TWO_ENDED, GapRule.LOWEST):
            placed = _placed(layout, order, rule, bound_bytes)
            found.append((placed, order))
            if placed.used_bytes <= bound_bytes:
                return placed, order
    return min(found, key=lambda pair: pair[0].used_bytes)


def climb(layout: Layout, start: tuple[Placed, tuple[int, ...]], bound_bytes: int) -> Placed:
    """Give blocks near the top of the arena another turn while that does not raise it.

    Stops at `bound_bytes` or when the work is used up. Never worse than `start`.
    """
    best, order = start
    random = Random(0)
    current = best.used_bytes
    affordable = CLIMB_WORK // (2 * layout.num_pairs + len(order) + 1)
    for turn in range(min(affordable, CLIMB_ROUNDS_PER_BLOCK * (len(order) - 1))):
        if best.used_bytes <= bound_bytes:
            break
        trial = _swapped(layout, order, best, random)
        rule = GapRule.LOWEST if turn % 3 else GapRule.TIGHTEST
        placed = _placed(layout, trial, rule, bound_bytes)
        if placed.used_bytes <= current:
            order, current = trial, placed.used_bytes
        if placed.used_bytes < best.used_bytes:
            best = placed
    return best


def _placed(layout: Layout, order: Sequence[int], rule: GapRule, bound_bytes: int) -> Placed:
    offsets = place(layout, order, rule, bound_bytes)
    return Placed(offsets, used_bytes(layout, offsets))


def _natural_orders(layout: Layout) -> list[tuple[int, ...]]:
    """Biggest first, earliest first, and most crowded first."""
    blocks = layout.blocks
    indices = range(len(blocks))
    crowd = [
        block.size_bytes + sum(blocks[n.index].size_bytes for n in row)
        for block, row in zip(blocks, layout.neighbours, strict=True)
    ]
    return [
        tuple(sorted(indices, key=lambda i: (-blocks[i].size_bytes, blocks[i].first, i))),
        tuple(sorted(indices, key=lambda i: (blocks[i].first, -blocks[i].last, i))),
        tuple(sorted(indices, key=lambda i: (-crowd[i], -blocks[i].size_bytes, i))),
    ]


def _swapped(
    layout: Layout, order: tuple[int, ...], best: Placed, random: Random
) -> tuple[int, ...]:
    """Move a block that reaches the top, or one of its neighbours, to an earlier turn."""
    tops = [
        index
        for index, block in enumerate(layout.blocks)
        if best.offsets[index] + block.size_bytes == best.used_bytes
    ]
    pool = sorted({*tops, *(n.index for top in tops for n in layout.neighbours[top])})
    changed = list(order)
    lhs = changed.index(pool[_below(random, len(pool))])
    rhs = _below(random, len(changed))
    if _below(random, 2):
        changed[lhs], changed[rhs] = changed[rhs], changed[lhs]
    else:
        changed.insert(min(lhs, rhs), changed.pop(lhs))
    return tuple(changed)


def _below(random: Random, limit: int) -> int:
    # random() is the one method whose sequence Python promises to keep between versions.
    return int(random.random() * limit)
