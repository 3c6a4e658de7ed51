"""Reduction fusion: reductions, softmax and norms compute their input and finish their result."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.verifier import Stage
from lepton_cc.passes.fusion import Fusion, FusionLimits
from lepton_cc.passes.fusion_laws import FOLLOWED, REDUCTIONS, anchor
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class FuseReductions(Pass):
    """Fuses reductions with pointwise ops of their result's shape after them and any before them.

    What norms read is computed once for each time that they walk over a row, so only cheap
    producers join those.
    """

    NAME: ClassVar[str] = "fuse-reductions"
    LEAVES: ClassVar[Stage | None] = Stage.FUSED
    max_ops: int = 24
    max_operands: int = 12

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        fusion = Fusion(graph, FusionLimits(self.max_ops, self.max_operands))
        for index in fusion.indices():
            op = fusion.op(index)
            found = None if op is None else anchor(op)
            if found is None or not isinstance(found.kind, REDUCTIONS):
                continue
            if fusion.pull(index):
                statistics.count(f"{found.kind.mnemonic} of a computed operand")
            if isinstance(found.kind, FOLLOWED) and fusion.follow(index, fusion.reads_anything):
                statistics.count(f"{found.kind.mnemonic} with what follows")
        return fusion.finish()
