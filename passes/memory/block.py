"""Blocks: buffers bound to each other by views, which move through the arena as one piece.

First step of planning. Each member keeps its own live range, so that the part of a block that is
not live at a step is free for others at that step.
"""

from dataclasses import dataclass, replace

from lepton_cc.passes.memory.problem import Buffer, MemoryProblem, root_offsets


@dataclass(frozen=True, slots=True)
class Piece:
    """A buffer at `offset` bytes in its block; its bytes are kept from `first` to `last` inclusive.

    The range is the buffer's own, or wider when it bridges the gap between a view and its buffer.
    """

    buffer: Buffer
    offset: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """The first byte of the block behind this piece."""
        return self.offset + self.buffer.size_bytes


@dataclass(frozen=True, slots=True)
class Block:
    """Pieces at fixed distances; the block's offset in the arena is a multiple of `alignment`."""

    pieces: tuple[Piece, ...]
    alignment: int

    @property
    def size_bytes(self) -> int:
        """Bytes from the block's start to its last piece's end."""
        return max(piece.end for piece in self.pieces)

    @property
    def first(self) -> int:
        """The first step at which a piece is live."""
        return min(piece.first for piece in self.pieces)

    @property
    def last(self) -> int:
        """The last step at which a piece is live."""
        return max(piece.last for piece in self.pieces)


def blocks_of(problem: MemoryProblem) -> tuple[Block, ...]:
    """Join what views bind; blocks stand in the order of their first buffer in the problem.

    A buffer of no bytes is in no block, but its alignment binds the buffer that it is a view of.
    """
    members: dict[str, list[Piece]] = {}
    alignments: dict[str, int] = {}
    roots = root_offsets(problem)
    ranges = _bridged_ranges(problem)
    for buffer in problem.buffers:
        root, offset = roots[buffer.name]
        pieces = members.setdefault(root, [])
        alignments[root] = max(alignments.get(root, 1), buffer.alignment)
        if buffer.size_bytes:
            pieces.append(Piece(buffer, offset, *ranges[buffer.name]))
    return tuple(
        Block(tuple(pieces), alignments[root]) for root, pieces in members.items() if pieces
    )


def shifted(block: Block, distance: int) -> tuple[Piece, ...]:
    """Give the block's pieces, moved by `distance` bytes."""
    return tuple(replace(piece, offset=piece.offset + distance) for piece in block.pieces)


def _bridged_ranges(problem: MemoryProblem) -> dict[str, tuple[int, int]]:
    buffers = {buffer.name: buffer for buffer in problem.buffers}
    ranges = {b.name: (b.first_step, b.last_step) for b in problem.buffers}
    for view in problem.views:
        part, whole = buffers[view.buffer], buffers[view.of]
        first, last = ranges[view.buffer]
        # A bridge stops beside the other's range: a longer one would forbid in-place at its end.
        if whole.last_step < part.first_step:
            first = whole.last_step + 1
        if part.last_step < whole.first_step:
            last = whole.first_step - 1
        ranges[view.buffer] = (first, last)
    return ranges
