"""Layout propagation: moves transposes down until they meet and cancel.

The frontend wraps every convolution and pool in transposes to and from channels last. One sweep
(`passes.layout_sweep`) carries each transpose along as a view of what it transposes, through every
op for which a law is known; two that meet cancel. Connected transposes form a region; a region
that would move more elements than before is left as it was.
"""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.rewrite import Statistics, without_dead_ops
from lepton_cc.passes.layout_sweep import LayoutSweep
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class PropagateLayout(Pass):
    """Moves transposes through pointwise, movement and reduction ops so that they cancel.

    Accepts any verified graph with static shapes and leaves one without transposes between
    channels-last ops, but where an op needs another order. Transposes that only move dimensions of
    size 1 become reshapes; transposed constants become constants; a flatten before a product with
    constant weights permutes the rows of the weights instead of the activation.
    """

    NAME: ClassVar[str] = "propagate-layout"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        transposes = [i for i, op in enumerate(graph.ops) if isinstance(op.kind, Transpose)]
        if not transposes or not _is_static(graph):
            return graph
        pinned: frozenset[int] = frozenset()
        while True:
            sweep = LayoutSweep(graph, pinned)
            swept = sweep.run()
            growth = sweep.regions.growth()
            worse = {i for i in transposes if growth.get(sweep.regions.find(i), 0) > 0}
            if not worse:
                break
            pinned |= worse
        for law, times in sweep.laws.counts:
            statistics.count(law, times)
        return without_dead_ops(swept)


def _is_static(graph: Graph) -> bool:
    values = [*graph.inputs, *(result for op in graph.ops for result in op.results)]
    return all(value.type.is_static for value in values)
