"""Memory planning: from buffers with live ranges to proven offsets in the arena.

StepGraph -> order_for_lowest_peak -> memory_problem -> plan_memory -> MemoryPlan
"""

from lepton_cc.passes.memory.order import order_for_lowest_peak
from lepton_cc.passes.memory.plan import Alias, AliasKind, MemoryPlan, Placement, PlanMethod
from lepton_cc.passes.memory.planner import plan_memory
from lepton_cc.passes.memory.problem import Buffer, Direction, InPlace, MemoryProblem, Overlap, View
from lepton_cc.passes.memory.step_graph import (
    Step,
    StepGraph,
    Storage,
    memory_problem,
    peak_bytes,
)

__all__ = [
    "Alias",
    "AliasKind",
    "Buffer",
    "Direction",
    "InPlace",
    "MemoryPlan",
    "MemoryProblem",
    "Overlap",
    "Placement",
    "PlanMethod",
    "Step",
    "StepGraph",
    "Storage",
    "View",
    "memory_problem",
    "order_for_lowest_peak",
    "peak_bytes",
    "plan_memory",
]
