"""ONNX activation functions, decomposed into pointwise ops."""

import math
from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.tensor import Array


def import_relu(node: NodeView) -> Sequence[Value | None]:
    """Relu of floats and signed integers."""
    return (node.emit(Clamp(low=0.0), node.operand(0)),)


def _exactly(bound: Array | None, default: float) -> float | None:
    """The bound as a Python float, if that is exact and not NaN."""
    if bound is None:
        return default
    if bound.size != 1:
        return None
    number = float(bound.reshape(()))
    rounded = bound.dtype.kind in "iu" and abs(number) >= 2**53
    return None if rounded or math.isnan(number) else number


def import_clip(node: NodeView) -> Sequence[Value | None]:
    """Clip with bounds from attributes or inputs, which may be computed at run time."""
    x = node.operand(0)
    bounds = [node.optional(index) for index in (1, 2)]
    arrays = [None if bound is None else node.content(bound) for bound in bounds]
    known = all(b is None or a is not None for b, a in zip(bounds, arrays, strict=True))
    low, high = _exactly(arrays[0], -math.inf), _exactly(arrays[1], math.inf)
    if any(b is not None and b.type.dtype is not x.type.dtype for b in bounds):
        node.refuse(f"bounds of another type than {x.type}", code=Code.TYPE_MISMATCH)
    if known and low is not None and high is not None:
        return (node.emit(Clamp(low, high), x),)
    for bound, function in zip(bounds, (B.MAX, B.MIN), strict=True):
        if bound is not None:
            if bound.type.num_elements != 1:
                node.refuse(f"a bound is {bound.type}, not a scalar", code=Code.TYPE_MISMATCH)
            x = node.binary(function, x, node.reshape(bound, ()))
    return (x,)


def import_clip_attributes(node: NodeView) -> Sequence[Value | None]:
    """Clip with bounds from attributes."""
    low, high = node.float("min", -math.inf), node.float("max", math.inf)
    return (node.emit(Clamp(low, high), node.operand(0)),)


def _negative(node: NodeView, x: Value) -> Value:
    return node.binary(B.LESS, x, 0)


def import_leaky_relu(node: NodeView) -> Sequence[Value | None]:
    """LeakyRelu: x < 0 ? alpha x : x."""
    x = node.operand(0)
    scaled = node.binary(B.MUL, x, node.float("alpha", 0.01))
    return (node.select(_negative(node, x), scaled, x),)


def import_prelu(node: NodeView) -> Sequence[Value | None]:
    """PRelu with a slope that broadcasts to x."""
    x, slope = node.operand(0), node.operand(1)
    y = node.select(_negative(node, x), node.binary(B.MUL, x, slope), x)
    if y.type.shape != x.type.shape:
        node.refuse(f"slope {slope.type} does not broadcast to {x.type}", code=Code.TYPE_MISMATCH)
    return (y,)


def _exp_minus_one(node: NodeView, x: Value) -> Value:
    return node.binary(B.SUB, node.unary(U.EXP, x), 1)


def import_elu(node: NodeView) -> Sequence[Value | None]:
    """Elu: x < 0 ? alpha (exp(x) - 1) : x."""
    x = node.operand(0)
    negative = node.binary(B.MUL, _exp_minus_one(node, x), node.float("alpha", 1.0))
    return (node.select(_negative(node, x), negative, x),)


def import_selu(node: NodeView) -> Sequence[Value | None]:
    """Selu: gamma (x < 0 ? alpha (exp(x) - 1) : x)."""
    x = node.operand(0)
    alpha = node.float("alpha", 1.67326319217681884765625)
    gamma = node.float("gamma", 1.05070102214813232421875)
    negative = node.binary(B.MUL, _exp_minus_one(node, x), alpha)
    return (node.binary(B.MUL, node.select(_negative(node, x), negative, x), gamma),)


def import_celu(node: NodeView) -> Sequence[Value | None]:
    """Celu: max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    x, alpha = node.operand(0), node.float("alpha", 1.0)
    if alpha == 0:
        node.refuse("alpha is 0", code=Code.MODEL_MALFORMED)
    scaled = _exp_minus_one(node, node.binary(B.DIV, x, alpha))
    negative = node.emit(Clamp(high=0.0), node.binary(B.MUL, scaled, alpha))
    return (node.binary(B.ADD, node.emit(Clamp(low=0.0), x), negative),)


def import_thresholded_relu(node: NodeView) -> Sequence[Value | None]:
    """ThresholdedRelu: x > alpha ? x : 0."""
    x = node.operand(0)
    above = node.binary(B.GREATER, x, node.float("alpha", 1.0))
    return (node.select(above, x, node.scalar(0, x.type.dtype)),)


def hard_sigmoid(node: NodeView, x: Value, alpha: float, beta: float) -> Value:
    """min(max(alpha x + beta, 0), 1)."""
    line = node.binary(B.ADD, node.binary(B.MUL, x, alpha), beta)
    return node.emit(Clamp(0.0, 1.0), line)


def import_hard_sigmoid(node: NodeView) -> Sequence[Value | None]:
    """HardSigmoid."""
    x = node.operand(0)
    return (hard_sigmoid(node, x, node.float("alpha", 0.2), node.float("beta", 0.5)),)


def import_hard_swish(node: NodeView) -> Sequence[Value | None]:
    """HardSwish: x min(max(x / 6 + 0.5, 0), 1)."""
    x = node.operand(0)
    return (node.binary(B.MUL, x, hard_sigmoid(node, x, 1 / 6, 0.5)),)


def softplus(node: NodeView, x: Value) -> Value:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)), which does not overflow."""
    decayed = node.unary(U.EXP, node.unary(U.NEG, node.unary(U.ABS, x)))
    return node.binary(B.ADD, node.emit(Clamp(low=0.0), x), node.unary(U.LOG1P, decayed))


def import_softplus(node: NodeView) -> Sequence[Value | None]:
    """Softplus, without overflow."""
    return (softplus(node, node.operand(0)),)


def import_softsign(node: NodeView) -> Sequence[Value | None]:
    """Softsign: x / (1 + |x|)."""
    x = node.operand(0)
    return (node.binary(B.DIV, x, node.binary(B.ADD, node.unary(U.ABS, x), 1)),)


def import_mish(node: NodeView) -> Sequence[Value | None]:
    """Mish: x tanh(softplus(x))."""
    x = node.operand(0)
    return (node.binary(B.MUL, x, node.unary(U.TANH, softplus(node, x))),)


def gelu_tanh(node: NodeView, x: Value) -> Value:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    cube = node.binary(B.MUL, node.binary(B.MUL, x, x), x)
    inner = node.binary(B.ADD, x, node.binary(B.MUL, cube, 0.044715))
    bent = node.unary(U.TANH, node.binary(B.MUL, inner, math.sqrt(2 / math.pi)))
    return node.binary(B.MUL, node.binary(B.MUL, x, 0.5), node.binary(B.ADD, bent, 1))


def import_gelu(node: NodeView) -> Sequence[Value | None]:
    """Gelu in both forms, approximate 'none' and 'tanh'."""
    x, form = node.operand(0), node.string("approximate", "none")
    if form not in ("none", "tanh"):
        node.refuse(f"approximate is {form!r}", code=Code.MODEL_MALFORMED)
    return (node.unary(U.GELU, x) if form == "none" else gelu_tanh(node, x),)


def import_swish(node: NodeView) -> Sequence[Value | None]:
    """Swish: x sigmoid(alpha x)."""
    x, alpha = node.operand(0), node.float("alpha", 1.0)
    scaled = x if alpha == 1 else node.binary(B.MUL, x, alpha)
    return (node.binary(B.MUL, x, node.unary(U.SIGMOID, scaled)),)


def import_shrink(node: NodeView) -> Sequence[Value | None]:
    """Shrink; integers are computed in binary32."""
    x = node.operand(0)
    wide = x if x.type.dtype.is_float else node.cast(x, DType.F32)
    bias, threshold = node.float("bias", 0.0), node.float("lambd", 0.5)
    below = node.binary(B.LESS, wide, -threshold)
    above = node.binary(B.GREATER, wide, threshold)
    y = node.select(
        below,
        node.binary(B.ADD, wide, bias),
        node.select(above, node.binary(B.SUB, wide, bias), node.scalar(0, wide.type.dtype)),
    )
    return (node.cast(y, x.type.dtype),)


OPERATORS = (
    Operator("", "Relu", 6, import_relu),
    Operator("", "Clip", 6, import_clip_attributes),
    Operator("", "Clip", 11, import_clip),
    Operator("", "LeakyRelu", 6, import_leaky_relu),
    Operator("", "PRelu", 7, import_prelu),
    Operator("", "Elu", 6, import_elu),
    Operator("", "Selu", 6, import_selu),
    Operator("", "Celu", 12, import_celu),
    Operator("", "ThresholdedRelu", 10, import_thresholded_relu),
    Operator("", "HardSigmoid", 6, import_hard_sigmoid),
    Operator("", "HardSwish", 14, import_hard_swish),
    Operator("", "Softplus", 1, import_softplus),
    Operator("", "Softsign", 1, import_softsign),
    Operator("", "Mish", 18, import_mish),
    Operator("", "Gelu", 20, import_gelu),
    Operator("", "Swish", 24, import_swish),
    Operator("", "Shrink", 9, import_shrink),
)
