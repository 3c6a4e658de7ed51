"""Weight fusion: products dequantize constants of few bits while they read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape, Transpose
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.rewrite import Statistics, without_dead_ops
from lepton_cc.ir.verifier import Stage
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.outline import outline


@dataclass(frozen=True, slots=True)
class FuseDequantizedWeights(Pass):
    """Fuses a matrix product with the `dequantize` of its right side, if that is a constant.

    Constants of less than 8 bits are never dequantized at compile time. Their floats would fill
    the arena and be written and read again; here each tile of rows makes those that it needs.
    Accepts static graphs; run it before the other fusion passes.
    """

    NAME: ClassVar[str] = "fuse-dequantized-weights"
    LEAVES: ClassVar[Stage | None] = Stage.FUSED

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        producers, uses = graph.producers(), graph.uses()
        ops: list[Op] = []
        for op in graph.ops:
            chain: list[Op] = []
            if isinstance(op.kind, MatMul):
                chain = _dequantized(op.inputs[1], graph, producers, uses)
            if chain:
                op = outline((*chain, op), op.result)
                statistics.count("product with the dequantization of its weights")
            ops.append(op)
        return without_dead_ops(graph.with_ops(tuple(ops)))


def _dequantized(
    value: Value, graph: Graph, producers: Mapping[Value, Op], uses: Mapping[Value, tuple[Op, ...]]
) -> list[Op]:
    """The ops, in order, that dequantize a narrow constant and move it to `value`, if nothing else.

    Empty if something else reads one of them.
    """
    chain: list[Op] = []
    while (op := producers.get(value)) is not None:
        if len(uses.get(value, ())) != 1 or value in graph.outputs:
            return []
        chain.insert(0, op)
        if isinstance(op.kind, Dequantize):
            integers = producers.get(op.inputs[0])
            narrow = op.inputs[0].type.dtype.bits < 8
            known = integers is not None and isinstance(integers.kind, Constant)
            return chain if narrow and known else []
        if not isinstance(op.kind, Reshape | Transpose):
            return []
        value = op.inputs[0]
    return []
