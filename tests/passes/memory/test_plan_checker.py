"""The checker finds what it is there to find."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lepton_cc.passes.memory import Buffer, InPlace, MemoryProblem, Overlap, View, plan_memory
from tests.passes.memory.plan_checker import plan_faults

PROBLEM = MemoryProblem(
    buffers=(
        Buffer("image", 96, 0, 1),
        Buffer("conv", 96, 1, 2),
        Buffer("relu", 96, 2, 3),
        Buffer("flat", 96, 3, 4),
        Buffer("head", 32, 4, 5),
    ),
    views=(View("flat", "relu"),),
    in_place=(InPlace(2, "relu", "conv"),),
    overlaps=(Overlap("conv", "image", 48),),
)
SPOILERS: dict[str, Callable[[dict[str, Any], dict[str, dict[str, Any]]], object]] = {
    "clashes with": lambda plan, rows: rows["head"].update(offset=rows["flat"]["offset"] + 16),
    "is not at its place in relu": lambda plan, rows: rows["flat"].update(offset=1024),
    "lies at 8": lambda plan, rows: rows["image"].update(offset=8),
    "lies at -16": lambda plan, rows: rows["image"].update(offset=-16),
    "the arena has": lambda plan, rows: plan.update(arena_bytes=plan["arena_bytes"] + 16),
    "was never permitted": lambda plan, rows: plan["in_place"][0].update(output="flat"),
    "the peak lists other": lambda plan, rows: plan["peak"]["buffers"].pop(),
    "the aliases of relu": lambda plan, rows: rows["relu"]["aliases"].clear(),
    "lists other buffers than the problem": lambda plan, rows: plan["buffers"].pop(),
    "the gap is not": lambda plan, rows: plan.update(gap_bytes=1),
    "proves the optimum": lambda plan, rows: plan.update(proven_optimal=False),
}


@pytest.mark.parametrize("fault", SPOILERS)
def test_spoilt_plan_is_found(fault: str) -> None:
    plan = json.loads(plan_memory(PROBLEM).to_json())
    assert plan_faults(PROBLEM, json.dumps(plan)) == []
    SPOILERS[fault](plan, {row["name"]: row for row in plan["buffers"]})
    assert any(fault in found for found in plan_faults(PROBLEM, json.dumps(plan)))


def test_overlap_by_one_byte_more_than_allowed_is_found() -> None:
    text = plan_memory(PROBLEM).to_json()
    for reach, is_legal in ((48, True), (47, False)):
        problem = MemoryProblem(
            PROBLEM.buffers, PROBLEM.views, PROBLEM.in_place, (Overlap("conv", "image", reach),)
        )
        assert (plan_faults(problem, text) == []) == is_legal
