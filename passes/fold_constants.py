"""Constant folding: ops of constants become constants; shape arithmetic vanishes here."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, Statistics, rewrite
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class FoldConstants(Pass):
    """Evaluates ops whose operands are all constants, through the interpreter's own definitions.

    A result is kept when it is no larger than its operands together or than `max_bytes`: an
    expanded scalar stays an op. Shapes are static, so that all integer arithmetic on them folds.
    `dequantize` of constant weights folds only on demand, whatever it takes: what quantizes later
    needs the integers. Weights of 4 bits and less stay as they are.
    """

    NAME: ClassVar[str] = "fold-constants"
    max_bytes: int = 65536
    fold_dequantize: bool = False

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, [Rule("op(constants) = constants", self._fold)], statistics)

    def _fold(self, op: Op, rewriter: Rewriter) -> Replacement:
        if isinstance(op.kind, Constant | Fused) or not op.inputs:
            return None
        dequantizes = isinstance(op.kind, Dequantize)
        if dequantizes and (not self.fold_dequantize or op.inputs[0].type.dtype.bits < 8):
            return None
        operands: list[Array | None] = []
        for operand in op.operands:
            array = rewriter.constant_array(operand)
            if operand is not None and array is None:
                return None
            operands.append(array)
        given = sum(operand.type.size_bytes for operand in op.inputs)
        made = sum(result.type.size_bytes for result in op.results)
        if made > max(given, self.max_bytes) and not dequantizes:
            return None
        with np.errstate(all="ignore"):
            arrays = op.kind.evaluate(operands)
        return tuple(
            rewriter.emit(Constant(Tensor(array), result.type.quantization), name=result.name)
            for array, result in zip(arrays, op.results, strict=True)
        )
