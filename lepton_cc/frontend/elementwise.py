"""Pointwise ONNX operators of one operand that are ops of the IR as they stand."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction


def _unary(function: UnaryFunction) -> Importer:
    def import_unary(node: NodeView) -> Sequence[Value | None]:
        return (node.unary(function, node.operand(0)),)

    return import_unary


_UNARY = {
    "Abs": UnaryFunction.ABS,
    "Acos": UnaryFunction.ACOS,
    "Acosh": UnaryFunction.ACOSH,
    "Asin": UnaryFunction.ASIN,
    "Asinh": UnaryFunction.ASINH,
    "Atan": UnaryFunction.ATAN,
    "Atanh": UnaryFunction.ATANH,
    "BitwiseNot": UnaryFunction.NOT,
    "Ceil": UnaryFunction.CEIL,
    "Cos": UnaryFunction.COS,
    "Cosh": UnaryFunction.COSH,
    "Erf": UnaryFunction.ERF,
    "Exp": UnaryFunction.EXP,
    "Floor": UnaryFunction.FLOOR,
    "IsNaN": UnaryFunction.IS_NAN,
    "Log": UnaryFunction.LOG,
    "Neg": UnaryFunction.NEG,
    "Not": UnaryFunction.NOT,
    "Reciprocal": UnaryFunction.RECIPROCAL,
    "Round": UnaryFunction.ROUND,
    "Sigmoid": UnaryFunction.SIGMOID,
    "Sign": UnaryFunction.SIGN,
    "Sin": UnaryFunction.SIN,
    "Sinh": UnaryFunction.SINH,
    "Sqrt": UnaryFunction.SQRT,
    "Tan": UnaryFunction.TAN,
    "Tanh": UnaryFunction.TANH,
}

OPERATORS = tuple(
    Operator("", op_type, 1, _unary(function)) for op_type, function in _UNARY.items()
)
