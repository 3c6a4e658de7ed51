"""Dead code elimination."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Statistics, without_dead_ops
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class EliminateDeadCode(Pass):
    """Drops ops that no output depends on; ops have no effects. Inputs stay, read or not."""

    NAME: ClassVar[str] = "eliminate-dead-code"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        alive = without_dead_ops(graph)
        statistics.count("drop what no output reads", len(graph.ops) - len(alive.ops))
        return alive
