"""Ops that stand for a graph of their own: the base of the fused op and of engine segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import evaluate_ops
from lepton_cc.ir.op_kind import OpKind, present
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Composite(OpKind):
    """Runs `body` on the operands: one operand for each of its inputs, a result for each output."""

    OPERANDS: ClassVar[tuple[str, ...]] = ("x*",)
    body: Graph

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        given = present(operands, len(operands))
        expected = tuple(value.type for value in self.body.inputs)
        if given != expected:
            raise TypeInferenceError(f"operands {given} for a body that takes {expected}")
        return tuple(value.type for value in self.body.outputs)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        given = [operand for operand in operands if operand is not None]
        return evaluate_ops(self.body, dict(zip(self.body.inputs, given, strict=True)))
