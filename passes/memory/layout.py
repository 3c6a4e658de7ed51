"""Layouts: blocks with the distances that they must keep, and one-by-one placing of them.

Placing takes the blocks in an order and gives each an offset among those already placed; the rule
says which of the free gaps it takes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from lepton_cc.passes.memory.block import Block
from lepton_cc.passes.memory.bound import aligned_up
from lepton_cc.passes.memory.clearance import (
    Permissions,
    Span,
    forbidden_distances,
    merged_spans,
)


class GapRule(Enum):
    """Which gap a block takes: the lowest, the tightest, or the arena's floor else its ceiling."""

    LOWEST = "lowest"
    TIGHTEST = "tightest"
    TWO_ENDED = "two-ended"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another block, and the distances from its offset that this block must not have."""

    index: int
    forbidden: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Blocks, and for each the neighbours that it may clash with."""

    blocks: tuple[Block, ...]
    neighbours: tuple[tuple[Neighbour, ...], ...]

    @property
    def num_pairs(self) -> int:
        """The number of pairs of blocks that could clash."""
        return sum(len(row) for row in self.neighbours) // 2


def layout_of(blocks: Sequence[Block], permissions: Permissions) -> Layout:
    """Compute the clearances between all blocks that live at the same time."""
    rows: list[list[Neighbour]] = [[] for _ in blocks]
    by_start = sorted(range(len(blocks)), key=lambda i: (blocks[i].first, i))
    live: list[int] = []
    for upper in by_start:
        live = [index for index in live if blocks[index].last >= blocks[upper].first]
        for lower in live:
            spans = forbidden_distances(blocks[lower], blocks[upper], permissions)
            if spans:
                rows[upper].append(Neighbour(lower, spans))
                rows[lower].append(Neighbour(upper, tuple((-b, -a) for a, b in reversed(spans))))
        live.append(upper)
    return Layout(tuple(blocks), tuple(tuple(row) for row in rows))


def place(layout: Layout, order: Iterable[int], rule: GapRule, capacity: int) -> tuple[int, ...]:
    """Place blocks in `order`; give the offset of each, in the order of the layout.

    `capacity` is the arena's size in bytes that the two-ended rule aims at, and may exceed.
    """
    offsets: list[int | None] = [None] * len(layout.blocks)
    for index in order:
        taken = merged_spans(
            (base + first, base + last)
            for neighbour in layout.neighbours[index]
            if (base := offsets[neighbour.index]) is not None
            for first, last in neighbour.forbidden
        )
        offsets[index] = _choose(taken, layout.blocks[index], rule, capacity)
    assert all(offset is not None for offset in offsets), "the order names each block once"
    return tuple(offset for offset in offsets if offset is not None)


def used_bytes(layout: Layout, offsets: Sequence[int]) -> int:
    """Give the end of the highest block."""
    ends = (base + b.size_bytes for base, b in zip(offsets, layout.blocks, strict=True))
    return max(ends, default=0)


def _choose(taken: Sequence[Span], block: Block, rule: GapRule, capacity: int) -> int:
    gaps = _gaps(taken, block.alignment)
    lowest, top = gaps[0][0], gaps[-1][0]
    if rule is GapRule.TIGHTEST:
        closed = [(last - first, first) for first, last in gaps[:-1]]
        return min(closed)[1] if closed else top
    if rule is GapRule.TWO_ENDED and lowest > 0:
        ceiling = (capacity - block.size_bytes) & -block.alignment
        return next((min(b, ceiling) for a, b in reversed(gaps) if a <= ceiling), lowest)
    return lowest


def _gaps(taken: Sequence[Span], alignment: int) -> list[Span]:
    """Give the spans of free offsets, cut to multiples of `alignment`; the last has no real end."""
    gaps, free = [], 0
    for first, last in taken:
        end = (first - 1) & -alignment
        if end >= free:
            gaps.append((free, end))
        free = max(free, aligned_up(last + 1, alignment))
    return [*gaps, (free, 1 << 62)]
