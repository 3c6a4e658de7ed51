"""Activation fusion: an anchor takes in the activation that follows it; comes before the others."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.verifier import Stage
from lepton_cc.passes.fusion import Fusion, FusionLimits
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class FuseActivations(Pass):
    """Fuses convolutions, products, pools and reductions with the pointwise functions after them.

    Only functions of the anchor's result and of scalar constants: relu, sigmoid, x * sigmoid(x),
    a scale; and the requantization of an accumulator, whatever scales it has. Accepts static graphs
    in channels-last form; run it before the other fusion passes.
    """

    NAME: ClassVar[str] = "fuse-activations"
    LEAVES: ClassVar[Stage | None] = Stage.FUSED
    max_ops: int = 24
    max_operands: int = 12

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        fusion = Fusion(graph, FusionLimits(self.max_ops, self.max_operands))
        for grown in fusion.follow_anchors(fusion.reads_only):
            statistics.count(f"{grown.kind.mnemonic} with its activation")
        return fusion.finish()
