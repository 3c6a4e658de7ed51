"""Clearances: how far apart two blocks must lie, given what may overlap.

Every rule of the problem (live ranges, in place, diagonal overlap) ends as a set of forbidden
distances between two blocks. The heuristics and the exact solver know nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lepton_cc.passes.memory.block import Block, Piece
from lepton_cc.passes.memory.problem import Direction, MemoryProblem

Span = tuple[int, int]
"""Whole numbers from the first to the second, both inclusive."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """The permissions of a problem, by (output, input), of overlaps also by direction."""

    in_place_steps: dict[tuple[str, str], frozenset[int]]
    overlap_bytes: dict[tuple[str, str, Direction], int]


def permissions_of(problem: MemoryProblem) -> Permissions:
    """Index in-place and overlap permissions by their pair of buffers."""
    steps: dict[tuple[str, str], frozenset[int]] = {}
    for grant in problem.in_place:
        pair = (grant.output, grant.input)
        steps[pair] = steps.get(pair, frozenset()) | {grant.step}
    reach: dict[tuple[str, str, Direction], int] = {}
    for overlap in problem.overlaps:
        key = (overlap.output, overlap.input, overlap.direction)
        reach[key] = max(reach.get(key, 0), overlap.bytes)
    return Permissions(steps, reach)


def handover_step(output: Piece, source: Piece) -> int | None:
    """Give the step at which `output` begins and `source` ends, if they share that step only."""
    step = output.buffer.first_step
    meets = output.first == step == source.last == source.buffer.last_step
    return step if meets else None


def may_be_in_place(output: Piece, source: Piece, permissions: Permissions) -> bool:
    """Tell whether `output` may begin at the offset of `source`."""
    step = handover_step(output, source)
    granted = permissions.in_place_steps.get((output.buffer.name, source.buffer.name), frozenset())
    return step in granted and output.buffer.size_bytes <= source.buffer.size_bytes


def overlap_reach(
    output: Piece, source: Piece, permissions: Permissions, direction: Direction
) -> int:
    """Give how many bytes the lower of the two may reach into the upper.

    The lower is `output` for a step that runs upwards, and `source` for one that runs downwards.
    """
    if handover_step(output, source) is None:
        return 0
    key = (output.buffer.name, source.buffer.name, direction)
    return permissions.overlap_bytes.get(key, 0)


def forbidden_distances(lower: Block, upper: Block, permissions: Permissions) -> tuple[Span, ...]:
    """Give the values that offset(upper) - offset(lower) must not take, sorted and disjoint."""
    spans: list[Span] = []
    for lhs in lower.pieces:
        for rhs in upper.pieces:
            if lhs.first <= rhs.last and rhs.first <= lhs.last:
                shift = lhs.offset - rhs.offset
                spans += [(a + shift, b + shift) for a, b in _piece_spans(lhs, rhs, permissions)]
    return merged_spans(spans)


def merged_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join spans that overlap or touch."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def _reach(lower: Piece, upper: Piece, permissions: Permissions) -> int:
    return max(
        overlap_reach(lower, upper, permissions, Direction.UPWARDS),
        overlap_reach(upper, lower, permissions, Direction.DOWNWARDS),
    )


def _piece_spans(lhs: Piece, rhs: Piece, permissions: Permissions) -> list[Span]:
    """Give the forbidden values of offset(rhs) - offset(lhs)."""
    low = 1 - rhs.buffer.size_bytes + _reach(rhs, lhs, permissions)
    high = lhs.buffer.size_bytes - 1 - _reach(lhs, rhs, permissions)
    if low > high:
        return []
    in_place = may_be_in_place(rhs, lhs, permissions) or may_be_in_place(lhs, rhs, permissions)
    if not in_place or not low <= 0 <= high:
        return [(low, high)]
    return [span for span in ((low, -1), (1, high)) if span[0] <= span[1]]
