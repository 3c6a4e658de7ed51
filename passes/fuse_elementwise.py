"""Elementwise fusion: trees of pointwise and movement ops become one op, or join an anchor."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.movement import Pad, Slice, Transpose
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.verifier import Stage
from lepton_cc.passes.fusion import Fusion, FusionLimits
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class FuseElementwise(Pass):
    """Fuses residual sums into the anchor before them, then pointwise and movement trees.

    Values that several ops read stay, unless reading them elsewhere costs nothing (slices,
    broadcasts); nothing is computed more often than before.
    """

    NAME: ClassVar[str] = "fuse-elementwise"
    LEAVES: ClassVar[Stage | None] = Stage.FUSED
    max_ops: int = 24
    max_operands: int = 12

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        fusion = Fusion(graph, FusionLimits(self.max_ops, self.max_operands))
        for grown in fusion.follow_anchors(fusion.reads_anything):
            statistics.count(f"{grown.kind.mnemonic} with what follows")
        for index in fusion.indices():
            op = fusion.op(index)
            if op is not None and _may_be_root(op) and fusion.pull(index):
                statistics.count("a tree of pointwise and movement ops")
        return fusion.finish()


def _may_be_root(op: Op) -> bool:
    roots = (Fused, Pad, Slice, Transpose)
    return len(op.results) == 1 and (
        Trait.POINTWISE in op.kind.traits or isinstance(op.kind, roots)
    )
