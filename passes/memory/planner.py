"""The planner: a memory problem in, a plan out.

    views -> blocks -> lower bound -> in-place joins -> heuristics -> hill climbing -> exact solver

Each stage runs only while the one before leaves a gap to the lower bound. Most models of a chain
or of residual blocks are done after the heuristics.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.passes.memory.block import Block, blocks_of
from lepton_cc.passes.memory.bound import PeakLoad, aligned_up, peak_load
from lepton_cc.passes.memory.clearance import Permissions, permissions_of
from lepton_cc.passes.memory.climb import Placed, climb, first_placements
from lepton_cc.passes.memory.exact import place_exactly
from lepton_cc.passes.memory.layout import Layout, layout_of
from lepton_cc.passes.memory.merge import join_in_place
from lepton_cc.passes.memory.plan import Alias, AliasKind, MemoryPlan, Placement, PlanMethod
from lepton_cc.passes.memory.problem import (
    Buffer,
    Direction,
    InPlace,
    MemoryProblem,
    Overlap,
    root_offsets,
)

_OVERLAP_KINDS = {
    Direction.UPWARDS: AliasKind.OVERLAP,
    Direction.DOWNWARDS: AliasKind.OVERLAP_DOWNWARDS,
}


@dataclass(frozen=True, slots=True)
class _Answer:
    layout: Layout
    placed: Placed
    method: PlanMethod
    is_optimal: bool = False


def plan_memory(problem: MemoryProblem, *, exact: bool = True) -> MemoryPlan:
    """Place the problem's buffers in the smallest arena found.

    The same problem gives the same plan on every machine, given the same answer to whether OR-tools
    is installed; without it, or with `exact=False`, a plan with a gap is not proven optimal.
    """
    permissions = permissions_of(problem)
    blocks = blocks_of(problem)
    peak = peak_load(blocks, permissions)
    alignment = max((block.alignment for block in blocks), default=1)
    bound_bytes = aligned_up(peak.live_bytes, alignment)
    answer = _search(problem, blocks, permissions, bound_bytes, exact)
    return _plan(problem, answer, peak, bound_bytes, alignment)


def _search(
    problem: MemoryProblem,
    blocks: tuple[Block, ...],
    permissions: Permissions,
    bound_bytes: int,
    exact: bool,
) -> _Answer:
    joined = join_in_place(blocks, problem, permissions)
    plain = layout_of(blocks, permissions)
    layouts = [plain] if len(joined) == len(blocks) else [layout_of(joined, permissions), plain]
    starts = [first_placements(layout, bound_bytes) for layout in layouts]
    answers = [
        _Answer(layout, start[0], PlanMethod.HEURISTIC)
        for layout, start in zip(layouts, starts, strict=True)
    ]
    best = min(answers, key=lambda answer: answer.placed.used_bytes)
    if best.placed.used_bytes <= bound_bytes:
        return best
    for layout, start in zip(layouts, starts, strict=True):
        placed = climb(layout, start, bound_bytes)
        if placed.used_bytes < best.placed.used_bytes:
            best = _Answer(layout, placed, PlanMethod.HILL_CLIMB)
        if placed.used_bytes <= bound_bytes:
            return best
    return _exactly(problem, plain, best, bound_bytes) if exact else best


def _exactly(problem: MemoryProblem, layout: Layout, known: _Answer, bound_bytes: int) -> _Answer:
    """Ask the solver about the unjoined blocks: it weighs every in-place permission itself."""
    offsets = _buffer_offsets(problem, known)
    hint = [
        offsets[block.pieces[0].buffer.name] - block.pieces[0].offset for block in layout.blocks
    ]
    found = place_exactly(layout, hint, bound_bytes, known.placed.used_bytes)
    if found is None:
        return known
    ends = (
        base + block.size_bytes for base, block in zip(found.offsets, layout.blocks, strict=True)
    )
    placed = Placed(found.offsets, max(ends))
    if placed.used_bytes >= known.placed.used_bytes:
        return _Answer(known.layout, known.placed, known.method, found.proven_optimal)
    return _Answer(layout, placed, PlanMethod.EXACT, found.proven_optimal)


def _buffer_offsets(problem: MemoryProblem, answer: _Answer) -> dict[str, int]:
    """Give every buffer's offset, also of those without bytes, which are in no block."""
    offsets = {
        piece.buffer.name: base + piece.offset
        for base, block in zip(answer.placed.offsets, answer.layout.blocks, strict=True)
        for piece in block.pieces
    }
    for name, (root, distance) in root_offsets(problem).items():
        offsets.setdefault(name, offsets.get(root, 0) + distance)
    return offsets


def _plan(
    problem: MemoryProblem, answer: _Answer, peak: PeakLoad, bound_bytes: int, alignment: int
) -> MemoryPlan:
    offsets = _buffer_offsets(problem, answer)
    arena_bytes = aligned_up(answer.placed.used_bytes, alignment)
    buffers = {buffer.name: buffer for buffer in problem.buffers}
    applied = tuple(grant for grant in problem.in_place if _is_applied(grant, buffers, offsets))
    return MemoryPlan(
        placements=_placements(problem, buffers, applied, offsets),
        arena_bytes=arena_bytes,
        lower_bound_bytes=bound_bytes,
        peak_step=peak.step,
        applied_in_place=applied,
        method=answer.method,
        proven_optimal=answer.is_optimal or arena_bytes == bound_bytes,
    )


def _placements(
    problem: MemoryProblem,
    buffers: Mapping[str, Buffer],
    applied: tuple[InPlace, ...],
    offsets: Mapping[str, int],
) -> tuple[Placement, ...]:
    aliases: dict[str, list[Alias]] = {buffer.name: [] for buffer in problem.buffers}
    for view in problem.views:
        aliases[view.buffer].append(Alias(AliasKind.VIEW, view.of))
    for grant in applied:
        aliases[grant.output].append(Alias(AliasKind.IN_PLACE, grant.input))
    for overlap in problem.overlaps:
        known = {alias.of for alias in aliases[overlap.output]}
        if overlap.input not in known and _is_used(overlap, buffers, offsets):
            kind = _OVERLAP_KINDS[overlap.direction]
            aliases[overlap.output].append(Alias(kind, overlap.input))
    return tuple(
        Placement(buffer, offsets[buffer.name], tuple(dict.fromkeys(aliases[buffer.name])))
        for buffer in problem.buffers
    )


def _is_applied(grant: InPlace, buffers: Mapping[str, Buffer], offsets: Mapping[str, int]) -> bool:
    output, source = buffers[grant.output], buffers[grant.input]
    return (
        output.first_step == grant.step == source.last_step
        and 0 < output.size_bytes <= source.size_bytes
        and offsets[output.name] == offsets[source.name]
    )


def _is_used(overlap: Overlap, buffers: Mapping[str, Buffer], offsets: Mapping[str, int]) -> bool:
    """Tell whether the two share bytes, in the way that this permission allows."""
    output, source = buffers[overlap.output], buffers[overlap.input]
    output_end = offsets[output.name] + output.size_bytes
    source_end = offsets[source.name] + source.size_bytes
    allowed = {
        Direction.UPWARDS: output_end <= offsets[source.name] + overlap.bytes,
        Direction.DOWNWARDS: source_end <= offsets[output.name] + overlap.bytes,
    }
    return (
        output.first_step == source.last_step
        and max(offsets[output.name], offsets[source.name]) < min(output_end, source_end)
        and allowed[overlap.direction]
    )
