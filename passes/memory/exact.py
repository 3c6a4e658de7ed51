"""Exact placement by OR-tools' CP-SAT, when it is installed (`pip install lepton-cc[exact]`).

The last resort of planning: asked only when the heuristics leave a gap to the lower bound. One
worker, a fixed seed and a limit in deterministic time make its answer the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from lepton_cc.passes.memory.block import Block
from lepton_cc.passes.memory.layout import Layout

MAX_PAIRS = 4_000
"""Pairs of blocks with a clearance above which the solver seldom ends within its limit."""
DETERMINISTIC_LIMIT = 0.5
"""CP-SAT's deterministic time: a count of work, at most about 3 s of a desktop core."""


@dataclass(frozen=True, slots=True)
class ExactPlacement:
    """Offsets of the layout's blocks, and whether no placement needs fewer bytes."""

    offsets: tuple[int, ...]
    proven_optimal: bool


def is_available() -> bool:
    """Tell whether OR-tools can be imported."""
    return find_spec("ortools") is not None


def place_exactly(
    layout: Layout, hint: Sequence[int], bound_bytes: int, known_bytes: int
) -> ExactPlacement | None:
    """Search for the placement of fewest bytes, at most `known_bytes`, which `hint` needs.

    Gives None when the solver is missing, the layout too big, or nothing was found in time.
    """
    if not is_available() or layout.num_pairs > MAX_PAIRS:
        return None
    from ortools.sat.python import cp_model  # noqa: PLC0415  (optional, and slow to import)

    # Every offset is a whole number of granules, so small numbers say all and propagate better.
    granule = min(block.alignment for block in layout.blocks)
    heights = [-(-block.size_bytes // granule) for block in layout.blocks]
    most = -(-known_bytes // granule)
    model = cp_model.CpModel()
    arena = model.new_int_var(bound_bytes // granule, most, "arena")
    offsets = []
    for index, block in enumerate(layout.blocks):
        scale = block.alignment // granule
        slot = model.new_int_var(0, (most - heights[index]) // scale, f"slot{index}")
        model.add_hint(slot, hint[index] // block.alignment)
        model.add(slot * scale + heights[index] <= arena)
        offsets.append(slot * scale)
    # Rectangles in time and memory propagate better than pairs, but cannot say what may overlap.
    plain = _plain_blocks(layout)
    times, rows = [], []
    for index in sorted(plain):
        block = layout.blocks[index]
        lifetime = block.last - block.first + 1
        times.append(model.new_fixed_size_interval_var(block.first, lifetime, ""))
        rows.append(model.new_fixed_size_interval_var(offsets[index], heights[index], ""))
    model.add_no_overlap_2d(times, rows)
    for upper, neighbours in enumerate(layout.neighbours):
        for lower in neighbours:
            if lower.index < upper and not {lower.index, upper} <= plain:
                spans = [[-(-first // granule), last // granule] for first, last in lower.forbidden]
                taken = cp_model.Domain.from_intervals(
                    [span for span in spans if span[0] <= span[1]]
                )
                distance = offsets[upper] - offsets[lower.index]
                model.add_linear_expression_in_domain(distance, taken.complement())
    model.minimize(arena)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = DETERMINISTIC_LIMIT
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    found = tuple(granule * int(solver.value(offset)) for offset in offsets)
    return ExactPlacement(found, status == cp_model.OPTIMAL)


def _plain_blocks(layout: Layout) -> frozenset[int]:
    """Find the blocks of one buffer that no permission lets overlap with any other."""
    blocks = layout.blocks
    return frozenset(
        index
        for index, block in enumerate(blocks)
        if len(block.pieces) == 1
        and all(
            n.forbidden == _apart(blocks[n.index], block)
            for n in layout.neighbours[index]
            if len(blocks[n.index].pieces) == 1
        )
        and not _meets_unforbidden(layout, index)
    )


def _apart(lower: Block, upper: Block) -> tuple[tuple[int, int], ...]:
    return ((1 - upper.size_bytes, lower.size_bytes - 1),)


def _meets_unforbidden(layout: Layout, index: int) -> bool:
    """Tell whether some block lives at the same time and yet has no forbidden distance."""
    block = layout.blocks[index]
    known = {neighbour.index for neighbour in layout.neighbours[index]}
    return any(
        other != index
        and other not in known
        and rival.first <= block.last
        and block.first <= rival.last
        for other, rival in enumerate(layout.blocks)
        if len(rival.pieces) == 1
    )
