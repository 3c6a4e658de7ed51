"""Plans are legal, reach known optima, and are the same in every process."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings

from lepton_cc.passes.memory import (
    AliasKind,
    Buffer,
    InPlace,
    MemoryPlan,
    MemoryProblem,
    Overlap,
    PlanMethod,
    View,
    plan_memory,
)
from lepton_cc.passes.memory.exact import is_available
from tests.passes.memory.plan_checker import address_faults, plan_faults
from tests.passes.memory.random_problems import problems


def chain(*sizes: int) -> tuple[Buffer, ...]:
    """Buffers of `sizes` units of 16 bytes; each is written while the one before is read."""
    return tuple(Buffer(f"x{i}", 16 * size, i, i + 1) for i, size in enumerate(sizes))


def tight(*rows: tuple[int, int, int]) -> tuple[Buffer, ...]:
    """Buffers of (units of 16 bytes, first step, last step)."""
    return tuple(Buffer(f"t{i}", 16 * n, a, b) for i, (n, a, b) in enumerate(rows))


RESIDUAL = tight((4, 0, 3), (8, 1, 2), (4, 2, 3), (4, 3, 6), (8, 4, 5), (4, 5, 6), (2, 6, 7))
DIAMOND = tight((3, 0, 2), (5, 1, 3), (7, 2, 3), (1, 3, 4))
# Two long buffers of the same size must lie apart by just what their neighbours leave free.
FOUR_OF_CHAIN = chain(5, 4, 4, 5)

OPTIMA: dict[str, tuple[MemoryProblem, int]] = {
    "nothing": (MemoryProblem(()), 0),
    "one": (MemoryProblem(chain(3)), 48),
    "chain": (MemoryProblem(chain(1, 6, 3, 8, 2, 7)), 176),
    "chain where biggest first fails": (MemoryProblem(FOUR_OF_CHAIN), 144),
    "residual blocks": (MemoryProblem(RESIDUAL), 256),
    "diamond": (MemoryProblem(DIAMOND), 240),
    "in place": (MemoryProblem(chain(4, 4), in_place=(InPlace(1, "x1", "x0"),)), 64),
    "in place, smaller": (MemoryProblem(chain(4, 2), in_place=(InPlace(1, "x1", "x0"),)), 64),
    "in place, too big": (MemoryProblem(chain(2, 4), in_place=(InPlace(1, "x1", "x0"),)), 96),
    "in place, wrong step": (MemoryProblem(chain(4, 4), in_place=(InPlace(0, "x1", "x0"),)), 128),
    "overlap": (MemoryProblem(chain(6, 6), overlaps=(Overlap("x1", "x0", 64),)), 128),
    "overlap of all": (MemoryProblem(chain(6, 2), overlaps=(Overlap("x1", "x0", 999),)), 96),
    "reshape": (
        MemoryProblem(tight((4, 0, 1), (4, 1, 2), (4, 2, 3)), views=(View("t1", "t0"),)),
        128,
    ),
    "concatenation": (
        MemoryProblem(
            tight((2, 0, 2), (3, 1, 2), (5, 2, 3)),
            views=(View("t0", "t2", 0), View("t1", "t2", 32)),
        ),
        80,
    ),
    "bridged view": (
        MemoryProblem(tight((4, 0, 0), (4, 3, 3), (4, 1, 2)), views=(View("t1", "t0"),)),
        128,
    ),
    "free part of a slice": (
        MemoryProblem(tight((6, 0, 1), (2, 1, 3), (4, 2, 3)), views=(View("t1", "t0", 64),)),
        96,
    ),
}


@pytest.mark.parametrize("name", OPTIMA)
@pytest.mark.parametrize("exact", [False, True])
def test_known_optimum_is_reached(name: str, exact: bool) -> None:
    problem, arena_bytes = OPTIMA[name]
    plan = plan_memory(problem, exact=exact)
    assert plan_faults(problem, plan.to_json()) == []
    assert plan.arena_bytes == plan.lower_bound_bytes == arena_bytes
    assert plan.proven_optimal


@settings(max_examples=300, deadline=None)
@given(problems())
def test_plans_without_a_solver_are_legal(problem: MemoryProblem) -> None:
    assert plan_faults(problem, plan_memory(problem, exact=False).to_json()) == []


@settings(max_examples=60, deadline=None)
@given(problems(max_buffers=8))
def test_exact_plans_are_legal_and_never_bigger(problem: MemoryProblem) -> None:
    plan = plan_memory(problem)
    assert plan_faults(problem, plan.to_json()) == []
    assert plan.arena_bytes <= plan_memory(problem, exact=False).arena_bytes


@settings(max_examples=60, deadline=None)
@given(problems(max_buffers=4))
def test_no_smaller_arena_exists_when_that_is_proven(problem: MemoryProblem) -> None:
    plan = plan_memory(problem)
    if not plan.proven_optimal or not plan.arena_bytes:
        return
    unit = max(buffer.alignment for buffer in problem.buffers)
    smaller = plan.arena_bytes - unit
    wholes = {view.buffer: view for view in problem.views}
    roots = [buffer for buffer in problem.buffers if buffer.name not in wholes]
    places = [range(0, max(smaller - b.size_bytes, -1) + 1, b.alignment) for b in roots]
    for combination in product(*(list(p)[:: max(1, len(p) // 8)] for p in places)):
        offsets = {b.name: at for b, at in zip(roots, combination, strict=True)}
        while len(offsets) < len(problem.buffers):
            for view in problem.views:
                if view.of in offsets:
                    offsets[view.buffer] = offsets[view.of] + view.offset_bytes
        assert address_faults(problem, offsets)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_json_round_trip(problem: MemoryProblem) -> None:
    plan = plan_memory(problem, exact=False)
    assert MemoryPlan.from_json(plan.to_json()) == plan


# Biggest first, earliest first and most crowded first all leave a gap here.
HARD = tight((5, 0, 1), (3, 0, 3), (2, 1, 2), (4, 2, 4), (6, 4, 5), (1, 3, 5), (3, 5, 7), (4, 6, 8))


def test_a_gap_without_proof_is_told() -> None:
    # One unit in the middle of two that must lie apart: no placement reaches the live bytes.
    rows = ((1, 0, 2), (1, 2, 4), (2, 1, 1), (2, 3, 3))
    plan = plan_memory(MemoryProblem(tight(*rows)), exact=False)
    assert plan.gap_bytes >= 0
    assert plan.proven_optimal == (plan.gap_bytes == 0)


def test_reader_of_other_versions_is_refused() -> None:
    text = plan_memory(MemoryProblem(chain(2, 3))).to_json()
    with pytest.raises(ValueError, match="version 9"):
        MemoryPlan.from_json(text.replace('"version": 1', '"version": 9'))
    with pytest.raises(ValueError, match="malformed"):
        MemoryPlan.from_json("{}")
