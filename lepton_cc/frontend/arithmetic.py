"""Pointwise ONNX operators of two or more operands: arithmetic, comparison, logic, bits."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction


def _binary(function: BinaryFunction) -> Importer:
    def import_binary(node: NodeView) -> Sequence[Value | None]:
        return (node.binary(function, node.operand(0), node.operand(1)),)

    return import_binary


def _variadic(function: BinaryFunction) -> Importer:
    def import_variadic(node: NodeView) -> Sequence[Value | None]:
        return (_combined(node, function),)

    return import_variadic


def _combined(node: NodeView, function: BinaryFunction) -> Value:
    result = node.operand(0)
    for index in range(1, len(node.operands)):
        result = node.binary(function, result, node.operand(index))
    return result


def import_mean(node: NodeView) -> Sequence[Value | None]:
    """Mean of any number of operands: their sum, left to right, divided by the number."""
    total = _combined(node, BinaryFunction.ADD)
    return (node.binary(BinaryFunction.DIV, total, len(node.operands)),)


def import_mod(node: NodeView) -> Sequence[Value | None]:
    """Mod in both forms: Python's %, or C's fmod with fmod=1."""
    function = BinaryFunction.FMOD if node.flag("fmod") else BinaryFunction.MOD
    return (node.binary(function, node.operand(0), node.operand(1)),)


def import_pow(node: NodeView) -> Sequence[Value | None]:
    """Pow with exponents of any type; integers to a float exponent are computed in binary64."""
    base, exponent = node.operand(0), node.operand(1)
    dtype = base.type.dtype
    wide = dtype
    if dtype.is_integer and exponent.type.dtype.is_float:
        wide = DType.F64
    y = node.binary(BinaryFunction.POW, node.cast(base, wide), node.cast(exponent, wide))
    return (node.cast(y, dtype),)


def import_bit_shift(node: NodeView) -> Sequence[Value | None]:
    """BitShift; a shift by the width or more gives 0."""
    direction = node.string("direction")
    if direction not in ("LEFT", "RIGHT"):
        node.refuse(f"direction {direction!r} is neither LEFT nor RIGHT", code=Code.MODEL_MALFORMED)
    left = direction == "LEFT"
    function = BinaryFunction.SHIFT_LEFT if left else BinaryFunction.SHIFT_RIGHT
    return (node.binary(function, node.operand(0), node.operand(1)),)


_BINARY = {
    "Add": (7, BinaryFunction.ADD),
    "Sub": (7, BinaryFunction.SUB),
    "Mul": (7, BinaryFunction.MUL),
    "Div": (7, BinaryFunction.DIV),
    "And": (7, BinaryFunction.AND),
    "Or": (7, BinaryFunction.OR),
    "Xor": (7, BinaryFunction.XOR),
    "BitwiseAnd": (18, BinaryFunction.AND),
    "BitwiseOr": (18, BinaryFunction.OR),
    "BitwiseXor": (18, BinaryFunction.XOR),
    "Equal": (7, BinaryFunction.EQUAL),
    "Less": (7, BinaryFunction.LESS),
    "LessOrEqual": (12, BinaryFunction.LESS_EQUAL),
    "Greater": (7, BinaryFunction.GREATER),
    "GreaterOrEqual": (12, BinaryFunction.GREATER_EQUAL),
}
_VARIADIC = {"Sum": BinaryFunction.ADD, "Max": BinaryFunction.MAX, "Min": BinaryFunction.MIN}

OPERATORS = (
    *(Operator("", op, since, _binary(function)) for op, (since, function) in _BINARY.items()),
    *(Operator("", op, 6, _variadic(function)) for op, function in _VARIADIC.items()),
    Operator("", "Mean", 6, import_mean),
    Operator("", "Mod", 10, import_mod),
    Operator("", "Pow", 7, import_pow),
    Operator("", "BitShift", 11, import_bit_shift),
)
