"""The lower bound of an arena: the most bytes that are live at one step.

It measures every placement: a plan that reaches it is optimal without further proof.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lepton_cc.passes.memory.block import Block, Piece
from lepton_cc.passes.memory.clearance import (
    Permissions,
    handover_step,
    may_be_in_place,
    merged_spans,
    overlap_reach,
)
from lepton_cc.passes.memory.problem import Direction


@dataclass(frozen=True, slots=True)
class PeakLoad:
    """The first step at which most bytes are live, and their number."""

    step: int
    live_bytes: int


def aligned_up(size_bytes: int, alignment: int) -> int:
    """Round up to a multiple of `alignment`, a power of two."""
    return (size_bytes + alignment - 1) & -alignment


def peak_load(blocks: Sequence[Block], permissions: Permissions) -> PeakLoad:
    """Find the step whose live bytes no placement in an aligned arena can undercut.

    The live set grows only where a piece begins, so only those steps are looked at.
    """
    peak = PeakLoad(0, 0)
    starts: dict[int, list[int]] = defaultdict(list)
    for index, block in enumerate(blocks):
        for step in {piece.first for piece in block.pieces}:
            starts[step].append(index)
    lasts = [block.last for block in blocks]
    live: set[int] = set()
    for step in sorted(starts):
        live = {index for index in live if lasts[index] >= step} | set(starts[step])
        size_bytes = _load_at(step, [blocks[index] for index in sorted(live)], permissions)
        if size_bytes > peak.live_bytes:
            peak = PeakLoad(step, size_bytes)
    return peak


def _load_at(step: int, blocks: Iterable[Block], permissions: Permissions) -> int:
    """Count bytes and granules, and take the larger; a granule is the smallest alignment here.

    Every block begins on a granule, so a granule belongs to whoever holds its first byte.
    """
    live = [[p for p in block.pieces if p.first <= step <= p.last] for block in blocks]
    aligns = [block.alignment for block, pieces in zip(blocks, live, strict=True) if pieces]
    granule = min(aligns, default=1)
    num_bytes = num_granules = 0
    for pieces in live:
        spans = [(piece.offset, piece.end - 1) for piece in pieces]
        for first, last in merged_spans(spans) if len(spans) > 1 else spans:
            num_bytes += last - first + 1
            num_granules += last // granule - (first - 1) // granule
    flat = [piece for pieces in live for piece in pieces]
    saved_bytes, saved_granules = _most_saved(step, flat, granule, permissions)
    return max(num_bytes - saved_bytes, (num_granules - saved_granules) * granule)


def _most_saved(
    step: int, live: list[Piece], granule: int, permissions: Permissions
) -> tuple[int, int]:
    """Bound from above the bytes and granules that permissions can save at a step."""
    outputs = [piece for piece in live if piece.buffer.first_step == step]
    sources = [piece for piece in live if piece.buffer.last_step == step]
    by_source: dict[str, list[int]] = defaultdict(list)
    by_output: list[list[int]] = []
    for output in outputs:
        shared = {s.buffer.name: _most_shared(output, s, permissions) for s in sources}
        by_output.append([size for size in shared.values() if size])
        for name, size in shared.items():
            by_source[name] += [size] if size else []
    limits = [piece.buffer.size_bytes for piece in outputs]
    reached = [
        capped_savings(by_output, limits, granule),
        capped_savings(
            [by_source[s.buffer.name] for s in sources],
            [s.buffer.size_bytes for s in sources],
            granule,
        ),
    ]
    return min(r[0] for r in reached), min(r[1] for r in reached)


def _most_shared(output: Piece, source: Piece, permissions: Permissions) -> int:
    if output is source or handover_step(output, source) is None:
        return 0
    if may_be_in_place(output, source, permissions):
        return output.buffer.size_bytes
    reach = max(overlap_reach(output, source, permissions, way) for way in Direction)
    return min(reach, output.buffer.size_bytes, source.buffer.size_bytes)


def capped_savings(
    shares: Sequence[Sequence[int]], limits: Sequence[int], granule: int
) -> tuple[int, int]:
    """Bytes and granules that shares of buffers save together, of no buffer more than it has."""
    num_bytes = sum(min(limit, sum(sizes)) for sizes, limit in zip(shares, limits, strict=True))
    num_granules = sum(
        min(-(-limit // granule), sum(-(-size // granule) for size in sizes))
        for sizes, limit in zip(shares, limits, strict=True)
    )
    return num_bytes, num_granules
