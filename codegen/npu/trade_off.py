"""How fast segments are with less scratchpad: cycles by budget, from the smallest that works."""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.segment import compile_segment
from lepton_cc.ir.graph import Graph

_KIB = 1024
# Of a point's scratchpad to the next one's: two points for each halving.
_RATIO = (5, 7)


@dataclass(frozen=True, slots=True)
class BudgetPoint:
    """All segments compiled for a scratchpad of so many KiB."""

    budget_kib: int
    used_bytes: int
    cycles: int


def trade_off(bodies: Sequence[Graph], machine: Machine) -> tuple[BudgetPoint, ...]:
    """Points by ascending budget, from the least that fits to the machine's scratchpad.

    The first is exact to a KiB. Empty if not even the whole scratchpad is enough.
    """
    found: list[BudgetPoint] = []
    budget = machine.member.spm_bytes // _KIB
    while budget > 0:
        point = _point(bodies, machine, budget)
        if point is None:
            break
        found.append(point)
        # What is left over of a budget tells nothing new.
        needed = min(budget, -(-point.used_bytes // _KIB))
        budget = needed * _RATIO[0] // _RATIO[1]
    if found:
        found += _least(bodies, machine, budget, found[-1].budget_kib)
    return tuple(sorted(found, key=lambda point: point.budget_kib))


def _least(
    bodies: Sequence[Graph], machine: Machine, impossible: int, possible: int
) -> list[BudgetPoint]:
    """The point of the smallest budget between the two, if it is another one than `possible`."""
    best: list[BudgetPoint] = []
    while possible - impossible > 1:
        middle = (possible + impossible) // 2
        point = _point(bodies, machine, middle)
        if point is None:
            impossible = middle
        else:
            possible, best = middle, [point]
    return best


def _point(bodies: Sequence[Graph], machine: Machine, budget_kib: int) -> BudgetPoint | None:
    limited = machine.with_spm(budget_kib * _KIB)
    segments = [compile_segment(body, limited, ConstantPool()) for body in bodies]
    used_bytes = max((segment.spm_bytes for segment in segments), default=0)
    if used_bytes > limited.member.spm_bytes:
        return None
    return BudgetPoint(budget_kib, used_bytes, sum(s.timeline.cycles for s in segments))
