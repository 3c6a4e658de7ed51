"""Exact placement by OR-tools' CP-SAT, when it is installed (`pip install lepton-cc[exact]`).

The last resort of planning: asked only when the heuristics leave a gap to the lower bound. One
worker, a fixed seed and a limit in deterministic time make its answer the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from lepton_cc.passes.memory.layout import Layout

MAX_PAIRS = 6_000
"""Pairs of blocks with a clearance above which building the model alone takes too long."""
DETERMINISTIC_SECONDS = 4.0
"""CP-SAT's deterministic time, near seconds of a desktop core."""


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
    """Search for a placement below `known_bytes`, which the offsets in `hint` need.

    Gives None when the solver is missing, the layout too big, or nothing was found in time.
    """
    if not is_available() or layout.num_pairs > MAX_PAIRS:
        return None
    from ortools.sat.python import cp_model  # noqa: PLC0415  (optional, and slow to import)

    model = cp_model.CpModel()
    arena = model.new_int_var(bound_bytes, known_bytes, "arena")
    offsets = []
    for index, block in enumerate(layout.blocks):
        highest = (known_bytes - block.size_bytes) // block.alignment
        slot = model.new_int_var(0, highest, f"slot{index}")
        model.add_hint(slot, hint[index] // block.alignment)
        model.add(slot * block.alignment + block.size_bytes <= arena)
        offsets.append(slot * block.alignment)
    for upper, row in enumerate(layout.neighbours):
        for neighbour in row:
            if neighbour.index < upper:
                domain = cp_model.Domain.from_intervals(
                    [[first, last] for first, last in neighbour.forbidden]
                ).complement()
                distance = offsets[upper] - offsets[neighbour.index]
                model.add_linear_expression_in_domain(distance, domain)
    model.minimize(arena)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = DETERMINISTIC_SECONDS
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    found = tuple(int(solver.value(offset)) for offset in offsets)
    return ExactPlacement(found, status == cp_model.OPTIMAL)
