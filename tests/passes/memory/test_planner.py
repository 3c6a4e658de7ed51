"""Plans are legal, reach known optima, and are the same in every process."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc.passes.memory import (
    AliasKind,
    Buffer,
    Direction,
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
# Placed by size, the two of five both take the floor, and the two of four no longer fit above.
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


SMALL = problems(max_buffers=4, sizes=st.integers(0, 48), alignments=st.just(16))


@settings(max_examples=60, deadline=None)
@given(SMALL)
def test_no_smaller_arena_exists_when_that_is_proven(problem: MemoryProblem) -> None:
    plan = plan_memory(problem)
    smaller = plan.arena_bytes - 16
    if not plan.proven_optimal or smaller < 0:
        return
    parts = {view.buffer for view in problem.views}
    roots = [buffer for buffer in problem.buffers if buffer.name not in parts]
    places = [range(0, smaller - buffer.size_bytes + 1, 16) for buffer in roots]
    for combination in product(*places):
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


# Placed by size, by start or by crowd, these leave a gap: only another order of placing has none.
NEEDS_CLIMBING = tight(
    (4, 5, 8), (7, 7, 8), (5, 1, 4), (8, 4, 7), (3, 4, 6), (1, 2, 4), (2, 1, 2), (3, 0, 0)
)
# Joined in place, x1 and x2 are in the way of the overlaps.
NEEDS_SOLVING = MemoryProblem(
    tight((5, 0, 3), (11, 1, 2), (3, 2, 4), (8, 3, 5), (3, 4, 5), (6, 5, 8)),
    in_place=(InPlace(1, "t1", "t0"), InPlace(2, "t2", "t1")),
    overlaps=(Overlap("t3", "t2", 80), Overlap("t5", "t4", 64)),
)
# Every overlap on its own could be used; one after the other they cannot, so the bound is too low.
ABOVE_ITS_BOUND = MemoryProblem(
    tight((5, 0, 1), (10, 1, 2), (5, 2, 3), (9, 3, 4), (4, 4, 6)),
    in_place=(InPlace(4, "t4", "t3"),),
    overlaps=(Overlap("t1", "t0", 16), Overlap("t2", "t1", 64), Overlap("t4", "t3", 64)),
)
needs_solver = pytest.mark.skipif(not is_available(), reason="OR-tools is not installed")


def test_hill_climbing_closes_what_heuristics_leave() -> None:
    problem = MemoryProblem(NEEDS_CLIMBING)
    plan = plan_memory(problem, exact=False)
    assert plan.method is PlanMethod.HILL_CLIMB
    assert plan.gap_bytes == 0
    assert plan_faults(problem, plan.to_json()) == []


@needs_solver
def test_solver_closes_what_hill_climbing_leaves() -> None:
    quick, plan = plan_memory(NEEDS_SOLVING, exact=False), plan_memory(NEEDS_SOLVING)
    assert quick.arena_bytes == 272
    assert not quick.proven_optimal
    assert (plan.arena_bytes, plan.gap_bytes, plan.method) == (256, 0, PlanMethod.EXACT)
    assert plan_faults(NEEDS_SOLVING, plan.to_json()) == []


@needs_solver
def test_solver_proves_an_arena_above_the_bound() -> None:
    plan = plan_memory(ABOVE_ITS_BOUND)
    assert (plan.arena_bytes, plan.lower_bound_bytes) == (240, 224)
    assert plan.proven_optimal
    assert plan_faults(ABOVE_ITS_BOUND, plan.to_json()) == []


def test_planning_goes_on_without_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lepton_cc.passes.memory.exact.is_available", lambda: False)
    assert plan_memory(NEEDS_SOLVING) == plan_memory(NEEDS_SOLVING, exact=False)


def test_in_place_and_overlap_are_told_as_aliases() -> None:
    plan = plan_memory(OPTIMA["in place"][0])
    assert plan.applied_in_place == (InPlace(1, "x1", "x0"),)
    plan = plan_memory(OPTIMA["overlap"][0])
    assert [alias.kind for alias in plan.placements[1].aliases] == [AliasKind.OVERLAP]
    assert plan.offsets == {"x0": 32, "x1": 0}


def test_steps_that_run_both_ways_go_to_and_fro() -> None:
    pairs = [(f"x{i}", f"x{i - 1}") for i in range(1, 5)]
    ways = tuple(Overlap(*pair, 64, way) for pair in pairs for way in Direction)
    problem = MemoryProblem(chain(6, 6, 6, 6, 6), overlaps=ways)
    plan = plan_memory(problem)
    assert plan_faults(problem, plan.to_json()) == []
    assert plan.arena_bytes == 16 * (6 + 2)
    kinds = [alias.kind for placed in plan.placements for alias in placed.aliases]
    assert set(kinds) == {AliasKind.OVERLAP, AliasKind.OVERLAP_DOWNWARDS}
    one_way = MemoryProblem(problem.buffers, overlaps=ways[::2])
    assert plan_memory(one_way).arena_bytes > plan.arena_bytes


def test_every_process_makes_the_same_plan() -> None:
    script = (
        "from tests.passes.memory.test_planner import *\n"
        "for problem in (NEEDS_SOLVING, ABOVE_ITS_BOUND, MemoryProblem(NEEDS_CLIMBING)):\n"
        "    print(plan_memory(problem).to_json())\n"
    )
    root = Path(__file__).resolve().parents[3]
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={"PATH": "", "PYTHONPATH": str(root), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(texts) == 1
    assert "arena_bytes" in texts.pop()


def test_plan_as_json(update_golden: bool) -> None:
    concatenation = OPTIMA["concatenation"][0]
    problem = MemoryProblem(
        (*concatenation.buffers, Buffer("relu", 80, 3, 4), Buffer("pool", 24, 4, 5, alignment=4)),
        concatenation.views,
        (InPlace(3, "relu", "t2"),),
        (Overlap("pool", "relu", 8),),
    )
    plan = plan_memory(problem)
    assert plan_faults(problem, plan.to_json()) == []
    golden = Path(__file__).with_name("golden_plan.json")
    if update_golden:
        golden.write_text(plan.to_json(), encoding="utf-8")
    assert plan.to_json() == golden.read_text(encoding="utf-8")


def test_reader_of_other_versions_is_refused() -> None:
    text = plan_memory(MemoryProblem(chain(2, 3))).to_json()
    with pytest.raises(ValueError, match="version 9"):
        MemoryPlan.from_json(text.replace('"version": 1', '"version": 9'))
    with pytest.raises(ValueError, match="malformed"):
        MemoryPlan.from_json("{}")
