"""Which channels must leave for a smaller arena: those whose tensors live at its peak.

The arena is the greatest of many sums, so that channels of most groups do not lower it at all, and
those that do only together. Steps are taken where an error buys most of what is above the goal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.graph import Graph
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.memory.plan import MemoryPlan
from lepton_cc.passes.prune.allocate import Sensitivity

# Whose order of kernels and whose placement count; the arena of floats differs little by target.
_TARGET = "rv32imc"


@dataclass(frozen=True, slots=True)
class ArenaLevels:
    """The level of each group, by name, that the goal needs; and the arena, in bytes of floats."""

    levels: Mapping[str, int]
    bytes_before: int
    bytes_after: int


def levels_for_arena(
    sensitivities: Sequence[Sensitivity],
    share: float,
    narrowed: Callable[[Mapping[str, float]], Graph],
) -> ArenaLevels:
    """The levels at which the arena is smaller by a share, or by as much as all levels allow.

    narrowed: the graph without some shares of groups, by name; which channels go is of no matter.
    """
    levels = {one.name: 0 for one in sensitivities}
    plan = _planned(narrowed({}))
    before = plan.arena_bytes
    goal = (1 - share) * before
    while plan.arena_bytes > goal:
        excess = _excess(plan, goal)
        found = []
        for number, one in enumerate(sensitivities):
            level = levels[one.name]
            if level + 1 == len(one.levels):
                continue
            changed = {**levels, one.name: level + 1}
            lower = _planned(narrowed(_shares(sensitivities, changed)))
            relief = excess - _excess(lower, goal)
            if relief > 0:
                cost = (one.errors[level + 1] - one.errors[level]) / relief
                found.append((cost, number, changed, lower))
        if not found:
            break
        _, _, levels, plan = min(found, key=lambda step: step[:2])
    return ArenaLevels(levels, before, plan.arena_bytes)


def arena_bytes(graph: Graph) -> int:
    """The arena of a float graph."""
    return _planned(graph).arena_bytes


def _shares(sensitivities: Sequence[Sensitivity], levels: Mapping[str, int]) -> Mapping[str, float]:
    return {one.name: one.levels[levels[one.name]] for one in sensitivities}


def _planned(graph: Graph) -> MemoryPlan:
    target, level = load_target(_TARGET), LEVELS[OptLevel.O3]
    lowered = PassManager(level.pipeline(target)).run(graph)
    return assemble(lowered, "arena", target, level.schedule, reorder=level.reorder).plan


def _excess(plan: MemoryPlan, goal: float) -> float:
    """How far the arena is used beyond a goal, summed over steps."""
    used: dict[int, int] = {}
    for one in plan.placements:
        for step in range(one.buffer.first_step, one.buffer.last_step + 1):
            used[step] = max(used.get(step, 0), one.offset + one.buffer.size_bytes)
    return sum(max(0.0, end - goal) for end in used.values())
