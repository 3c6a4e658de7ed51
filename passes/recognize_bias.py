"""Recognizes the bias of a convolution or product in the sum that follows it."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.pattern import either_order


@rule("contraction(x, w) + b = contraction(x, w, b)", Binary)
def take_bias(op: Op, rewriter: Rewriter) -> Replacement:
    """A contraction without bias that only the sum reads takes a constant of its last dimension."""
    if op.kind != Binary(BinaryFunction.ADD):
        return None
    for product, other in either_order((op.inputs[0], op.inputs[1])):
        found = rewriter.match(product, OpKind)
        bias = rewriter.constant_array(other)
        if found is None or bias is None or not rewriter.has_single_use(product):
            continue
        kind, contraction = found
        if not isinstance(kind, (Conv, ConvTranspose, MatMul)) or len(contraction.inputs) != 2:
            continue
        shape = product.type.shape[-1:]
        if bias.shape[-1:] == shape and (bias.size,) == shape and op.result.type == product.type:
            flat = other if bias.ndim == 1 else rewriter.constant(bias.reshape(-1), name=other.name)
            return (rewriter.emit(kind, *contraction.inputs, flat),)
    return None


@dataclass(frozen=True, slots=True)
class RecognizeBias(Pass):
    """Gives convolutions and products the constant that is added to each output channel.

    Accepts any graph; it finds more once layout propagation has put the channels last.
    """

    NAME: ClassVar[str] = "recognize-bias"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, (take_bias,), statistics)
