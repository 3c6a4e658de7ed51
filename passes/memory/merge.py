"""In-place decisions: join blocks so that an output begins where its dying input did.

The heuristics place joined blocks as one; the exact solver decides on in-place by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lepton_cc.passes.memory.block import Block, Piece, shifted
from lepton_cc.passes.memory.clearance import Permissions, forbidden_distances, may_be_in_place
from lepton_cc.passes.memory.problem import InPlace, MemoryProblem


@dataclass(frozen=True, slots=True)
class _Seat:
    """Where a buffer sits: which block, and its piece there."""

    block: int
    piece: Piece


def join_in_place(
    blocks: Sequence[Block], problem: MemoryProblem, permissions: Permissions
) -> tuple[Block, ...]:
    """Take every permission that can be taken, those that save most bytes first.

    Joining never raises the live bytes of a step: the output lies within bytes that are live
    anyway. It binds blocks to each other, though, so the unjoined blocks may still pack better.
    """
    joined: list[Block | None] = list(blocks)
    for grant in _by_saving(problem):
        seats = _seats(joined)
        if grant.output not in seats or grant.input not in seats:
            continue
        output, source = seats[grant.output], seats[grant.input]
        if output.block == source.block:
            continue
        if not may_be_in_place(output.piece, source.piece, permissions):
            continue
        lower, upper = joined[source.block], joined[output.block]
        assert lower is not None, "a seat is in a block that is there"
        assert upper is not None, "a seat is in a block that is there"
        distance = source.piece.offset - output.piece.offset
        union = _joined(lower, upper, distance, permissions)
        if union is not None:
            joined[source.block], joined[output.block] = union, None
    return tuple(block for block in joined if block is not None)


def _by_saving(problem: MemoryProblem) -> list[InPlace]:
    """Biggest output first, then the input that fits it most tightly, then the problem's order."""
    sizes = {buffer.name: buffer.size_bytes for buffer in problem.buffers}
    return sorted(problem.in_place, key=lambda g: (-sizes[g.output], sizes[g.input]))


def _seats(blocks: Sequence[Block | None]) -> dict[str, _Seat]:
    return {
        piece.buffer.name: _Seat(index, piece)
        for index, block in enumerate(blocks)
        if block is not None
        for piece in block.pieces
    }


def _joined(lower: Block, upper: Block, distance: int, permissions: Permissions) -> Block | None:
    """Bind `upper` at `distance` bytes from `lower`, or give None where that is not legal."""
    alignment = max(lower.alignment, upper.alignment)
    if distance % alignment:
        return None
    spans = forbidden_distances(lower, upper, permissions)
    if any(first <= distance <= last for first, last in spans):
        return None
    pieces = (*lower.pieces, *shifted(upper, distance))
    base = min(0, distance)
    return Block(tuple(replace(piece, offset=piece.offset - base) for piece in pieces), alignment)
