"""Divides a global budget among layers: where a saved unit costs the least error, greedily."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.passes.low_rank.candidates import Candidate
from lepton_cc.passes.low_rank.form import Cost


class Budget(enum.Enum):
    """What is to be saved."""

    MACS = "macs"
    BYTES = "bytes"

    def of(self, cost: Cost) -> int:
        """The part of a cost that counts."""
        return cost.num_macs if self is Budget.MACS else cost.size_bytes


@dataclass(frozen=True, slots=True)
class Choices:
    """The candidates of a layer, the one that changes nothing first.

    `weight` is what a share of this layer's output power counts against those of others.
    """

    name: str
    candidates: tuple[Candidate, ...]
    weight: float = 1.0


def allocate(layers: Sequence[Choices], wanted: int, budget: Budget) -> Mapping[str, Candidate]:
    """One candidate for each layer; together they save `wanted`, or all that they can.

    Each step goes where the error that it adds is least for what it saves (the marginal analysis of
    Fox, 1966): optimal on the convex hulls of the layers' choices, up to the last step, which is
    the one of least error that reaches the goal.
    """
    chosen = {layer.name: layer.candidates[0] for layer in layers}
    left = wanted
    while left > 0:
        steps = [step for layer in layers for step in _steps(layer, chosen[layer.name], budget)]
        if not steps:
            break
        last = [step for step in steps if step.saved >= left]
        best = min(steps, key=lambda step: step.added / step.saved)
        if best in last:
            best = min(last, key=lambda step: step.added)
        chosen[best.name] = best.candidate
        left -= best.saved
    return chosen


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    candidate: Candidate
    added: float
    saved: int


def _steps(layer: Choices, now: Candidate, budget: Budget) -> list[_Step]:
    """The ways to save more in a layer."""
    found = []
    for candidate in layer.candidates:
        saved = budget.of(now.cost) - budget.of(candidate.cost)
        if saved > 0:
            added = layer.weight * (candidate.error - now.error)
            found.append(_Step(layer.name, candidate, added, saved))
    return found
