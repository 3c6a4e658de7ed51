"""The pass that splits recurrent layers: one product for the inputs of all steps, then the scan."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.recurrent import RecurrentLayer
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass


@rule("layer(x, W, R, b) = scan(x W + b, R)", RecurrentLayer)
def hoist_input_product(op: Op, rewriter: Rewriter) -> Replacement:
    """Computes the gates' inputs of all steps at once, [T * B, I] by [I, G H]."""
    layer = op.kind
    x, weights, recurrent = op.operands[:3]
    bias = op.operands[3] if len(op.operands) > 3 else None
    if not isinstance(layer, RecurrentLayer) or x is None or weights is None:
        raise InternalError(f"{op.kind.mnemonic} at {op.location} lacks operands")
    steps, batch, features = x.type.dims
    rows = rewriter.emit(Reshape((steps * batch, features)), x, name=f"{x.name}.rows")
    factors = (rows, weights) if bias is None else (rows, weights, bias)
    product = rewriter.emit(MatMul(), *factors)
    gates = rewriter.emit(Reshape((steps, batch, weights.type.dims[1])), product, name="gates")
    return rewriter.add(layer.scan, (gates, recurrent, *op.operands[4:]))


@dataclass(frozen=True, slots=True)
class LowerRecurrent(Pass):
    """Turns rnn, gru and lstm into a matmul over all steps and the sequential scan."""

    NAME: ClassVar[str] = "lower-recurrent"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, (hoist_input_product,), statistics)
