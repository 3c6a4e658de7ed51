"""Pointwise ONNX operators that are single ops of the IR: unary functions, casts, selection."""

from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.frontend.scope import Operand
from lepton_cc.frontend.tensors import element_type
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.elementwise import Cast
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction


def _unary(function: UnaryFunction) -> Importer:
    def import_unary(node: NodeView) -> Sequence[Value | None]:
        return (node.unary(function, node.operand(0)),)

    return import_unary


def import_is_inf(node: NodeView) -> Sequence[Value | None]:
    """IsInf with either sign left out."""
    x = node.operand(0)
    positive, negative = node.flag("detect_positive", True), node.flag("detect_negative", True)
    if not positive and not negative:
        return (node.broadcast(node.scalar(0, DType.BOOL), x.type.dims),)
    if not positive:
        return (node.unary(UnaryFunction.IS_INF_NEGATIVE, x),)
    is_positive = node.unary(UnaryFunction.IS_INF_POSITIVE, x)
    if not negative:
        return (is_positive,)
    is_negative = node.unary(UnaryFunction.IS_INF_NEGATIVE, x)
    return (node.binary(BinaryFunction.OR, is_positive, is_negative),)


def import_identity(node: NodeView) -> Sequence[Operand]:
    """Identity of tensors and sequences."""
    return node.operands[:1]


def import_dropout(node: NodeView) -> Sequence[Value | None]:
    """Dropout for inference: the identity. The mask, if asked for, is all true."""
    x = node.operand(0)
    training = node.optional(2) is not None and bool(np.any(node.constant(2)))
    ratio = 0.5 if node.optional(1) is None or not training else node.constant_float(1)
    if training and ratio != 0:
        node.refuse("training_mode is true", "export the model for inference")
    if not node.output_used(1):
        return (x,)
    mask = DType.BOOL if node.opset >= 10 else x.type.dtype
    return x, node.broadcast(node.scalar(1, mask), x.type.dims)


def _cast(node: NodeView, dtype: DType) -> Value:
    x = node.operand(0)
    if dtype is DType.F8E8M0FNU and node.string("round_mode", "up") != "nearest":
        node.refuse("a cast to float8e8m0 that rounds up or down", "use round_mode 'nearest'")
    saturate = node.flag("saturate", True)
    return x if x.type.dtype is dtype else node.emit(Cast(dtype, saturate), x)


def import_cast(node: NodeView) -> Sequence[Value | None]:
    """Cast between all numeric types; to and from strings is refused."""
    return (_cast(node, element_type(node.int("to"))),)


def import_cast_like(node: NodeView) -> Sequence[Value | None]:
    """CastLike between all numeric types."""
    return (_cast(node, node.operand(1).type.dtype),)


def import_where(node: NodeView) -> Sequence[Value | None]:
    """Where with broadcasting of all three operands."""
    return (node.select(node.operand(0), node.operand(1), node.operand(2)),)


def import_constant(node: NodeView) -> Sequence[Value | None]:
    """Constant in every form but strings; a sparse value becomes dense."""
    given = [name for name in _CONSTANT_FORMS if node.has(name)]
    if len(given) != 1:
        listed = ", ".join(node.attributes.protos) or "none"
        node.refuse(f"needs exactly one value, has {listed}", code=Code.MODEL_MALFORMED)
    form = given[0]
    if form == "value":
        return (node.constant_value(node.tensor(form)),)
    if form == "sparse_value":
        return (node.constant_value(node.attributes.sparse_tensor(form)),)
    if form == "value_int":
        return (node.constant_value(np.array(node.int(form), np.int64)),)
    if form == "value_ints":
        return (node.constant_value(np.array(node.ints(form), np.int64)),)
    if form == "value_float":
        return (node.constant_value(np.array(node.float(form), np.float32)),)
    if form == "value_floats":
        return (node.constant_value(np.array(node.floats(form), np.float32)),)
    node.refuse("strings cannot be compiled", code=Code.UNSUPPORTED_TYPE)


_CONSTANT_FORMS = (
    "value",
    "sparse_value",
    "value_int",
    "value_ints",
    "value_float",
    "value_floats",
    "value_string",
    "value_strings",
)
_UNARY = {
    "Abs": (6, UnaryFunction.ABS),
    "Acos": (7, UnaryFunction.ACOS),
    "Acosh": (9, UnaryFunction.ACOSH),
    "Asin": (7, UnaryFunction.ASIN),
    "Asinh": (9, UnaryFunction.ASINH),
    "Atan": (7, UnaryFunction.ATAN),
    "Atanh": (9, UnaryFunction.ATANH),
    "BitwiseNot": (18, UnaryFunction.NOT),
    "Ceil": (6, UnaryFunction.CEIL),
    "Cos": (7, UnaryFunction.COS),
    "Cosh": (9, UnaryFunction.COSH),
    "Erf": (9, UnaryFunction.ERF),
    "Exp": (6, UnaryFunction.EXP),
    "Floor": (6, UnaryFunction.FLOOR),
    "IsNaN": (9, UnaryFunction.IS_NAN),
    "Log": (6, UnaryFunction.LOG),
    "Neg": (6, UnaryFunction.NEG),
    "Not": (6, UnaryFunction.NOT),
    "Reciprocal": (6, UnaryFunction.RECIPROCAL),
    "Round": (11, UnaryFunction.ROUND),
    "Sigmoid": (6, UnaryFunction.SIGMOID),
    "Sign": (9, UnaryFunction.SIGN),
    "Sin": (7, UnaryFunction.SIN),
    "Sinh": (9, UnaryFunction.SINH),
    "Sqrt": (6, UnaryFunction.SQRT),
    "Tan": (7, UnaryFunction.TAN),
    "Tanh": (6, UnaryFunction.TANH),
}

OPERATORS = (
    *(Operator("", op, since, _unary(function)) for op, (since, function) in _UNARY.items()),
    Operator("", "IsInf", 10, import_is_inf),
    Operator("", "Identity", 1, import_identity),
    Operator("", "Dropout", 7, import_dropout),
    Operator("", "Cast", 6, import_cast),
    Operator("", "CastLike", 15, import_cast_like),
    Operator("", "Where", 9, import_where),
    Operator("", "Constant", 1, import_constant),
)
