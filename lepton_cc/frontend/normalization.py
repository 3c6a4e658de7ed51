"""ONNX normalizations: layer norm and RMS norm of the IR, everything else decomposed."""

import math
from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.pool import AveragePool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.window import Window


def _fits_inside(x: Value, parameter: Value | None, axis: int) -> bool:
    """True if the norm op itself can apply the parameter: x's dtype, the normalized axes only."""
    if parameter is None:
        return True
    return parameter.type.dtype is x.type.dtype and parameter.type.rank <= x.type.rank - axis


def layer_norm(
    node: NodeView,
    x: Value,
    parameters: tuple[Value | None, Value | None],
    axis: int,
    epsilon: float,
) -> Value:
    """Layer norm with scale and bias inside the op where it can take them, else after it."""
    scale, bias = parameters
    if _fits_inside(x, scale, axis) and _fits_inside(x, bias, axis):
        return node.emit(LayerNorm(axis, epsilon), x, scale, bias)
    y = node.emit(LayerNorm(axis, epsilon), x, None, None)
    return _affine(node, y, scale, bias)


def _affine(node: NodeView, y: Value, scale: Value | None, bias: Value | None) -> Value:
    if scale is not None:
        y = node.binary(BinaryFunction.MUL, y, scale)
    return y if bias is None else node.binary(BinaryFunction.ADD, y, bias)


def import_layer_normalization(node: NodeView) -> Sequence[Value | None]:
    """LayerNormalization with all its outputs; statistics in binary32 (binary64 for f64)."""
    x = node.operand(0)
    axis = node.axis(node.int("axis", -1), x.type.rank)
    epsilon = node.float("epsilon", 1e-5)
    y = layer_norm(node, x, (node.optional(1), node.optional(2)), axis, epsilon)
    if not (node.output_used(1) or node.output_used(2)):
        return y, None, None
    wide = x if x.type.dtype is DType.F64 else node.cast(x, DType.F32)
    mean, variance = _moments(node, wide, tuple(range(axis, x.type.rank)))
    shifted = node.binary(BinaryFunction.ADD, variance, epsilon)
    return y, mean, node.unary(UnaryFunction.RSQRT, shifted)


def _moments(node: NodeView, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Mean and variance along axes, kept as dimensions of size 1."""
    mean = node.emit(Reduce(ReduceFunction.MEAN, axes), x)
    centered = node.binary(BinaryFunction.SUB, x, mean)
    square = node.binary(BinaryFunction.MUL, centered, centered)
    return mean, node.emit(Reduce(ReduceFunction.MEAN, axes), square)


def import_rms_normalization(node: NodeView) -> Sequence[Value | None]:
    """RMSNormalization; the mean square in binary32 (binary64 for f64)."""
    x, scale = node.operand(0), node.operand(1)
    axis = node.axis(node.int("axis", -1), x.type.rank)
    kind = RmsNorm(axis, node.float("epsilon", 1e-5))
    if _fits_inside(x, scale, axis):
        return (node.emit(kind, x, scale),)
    y = node.cast(node.emit(kind, x, None), scale.type.dtype)
    return (node.binary(BinaryFunction.MUL, y, scale),)


def _per_channel(node: NodeView, parameter: Value, rank: int) -> Value:
    """A parameter [C] with the dimensions that make it broadcast to [N, C, *S]."""
    return node.reshape(parameter, (parameter.type.num_elements, *[1] * (rank - 2)))


def import_instance_normalization(node: NodeView) -> Sequence[Value | None]:
    """InstanceNormalization of [N, C, *S] with one spatial dimension or more."""
    x = node.operand(0)
    if x.type.rank < 3:
        node.refuse(f"input {x.type} has no spatial dimension", code=Code.MODEL_MALFORMED)
    y = node.emit(LayerNorm(2, node.float("epsilon", 1e-5)), x, None, None)
    scale, bias = (_per_channel(node, node.operand(index), x.type.rank) for index in (1, 2))
    return (_affine(node, y, scale, bias),)


def import_group_normalization(node: NodeView) -> Sequence[Value | None]:
    """GroupNormalization of [N, C, *S]; scale and bias for each channel (before 21: deprecated)."""
    x = node.operand(0)
    groups = node.int("num_groups")
    node.check_rank(x, 2)
    batch, channels, *spatial = x.type.dims
    if groups < 1 or channels % groups:
        node.refuse(f"{channels} channels in {groups} groups", code=Code.MODEL_MALFORMED)
    grouped = (batch, groups, channels // groups, math.prod(spatial))
    y = node.emit(LayerNorm(2, node.float("epsilon", 1e-5)), node.reshape(x, grouped), None, None)
    y = node.reshape(y, x.type.dims)
    scale, bias = (_per_channel(node, node.operand(index), x.type.rank) for index in (1, 2))
    return (_affine(node, y, scale, bias),)


def import_mean_variance_normalization(node: NodeView) -> Sequence[Value | None]:
    """MeanVarianceNormalization: (x - mean) / (standard deviation + 1e-9)."""
    x = node.operand(0)
    axes = node.ints("axes", (0, 2, 3))
    axes = tuple(sorted(node.axis(axis, x.type.rank) for axis in axes))
    mean, variance = _moments(node, x, axes)
    deviation = node.unary(UnaryFunction.SQRT, variance)
    shifted = node.binary(BinaryFunction.ADD, deviation, 1e-9)
    return (node.binary(BinaryFunction.DIV, node.binary(BinaryFunction.SUB, x, mean), shifted),)


def import_lrn(node: NodeView) -> Sequence[Value | None]:
    """LRN across channels: an average pool of the squares over a window of channels."""
    x = node.operand(0)
    size = node.int("size")
    node.check_rank(x, 2)
    batch, channels, *spatial = x.type.dims
    pixels = math.prod(spatial)
    square = node.binary(BinaryFunction.MUL, x, x)
    # As [N, C, pixels], the channels are the pool's one spatial dimension.
    low, high = (size - 1) // 2, size // 2
    window = Window((size,), (1,), (1,), (low,), (high,))
    average = node.emit(
        AveragePool(window, count_padding=True), node.reshape(square, (batch, channels, pixels))
    )
    scaled = node.binary(BinaryFunction.MUL, average, node.float("alpha", 1e-4))
    shifted = node.binary(BinaryFunction.ADD, scaled, node.float("bias", 1.0))
    divisor = node.binary(BinaryFunction.POW, shifted, node.float("beta", 0.75))
    return (node.binary(BinaryFunction.DIV, x, node.reshape(divisor, x.type.dims)),)


def import_lp_normalization(node: NodeView) -> Sequence[Value | None]:
    """LpNormalization with p 1 or 2; a vector of zeros stays as it is."""
    x = node.operand(0)
    axis = node.axis(node.int("axis", -1), x.type.rank)
    p = node.int("p", 2)
    if p not in (1, 2):
        node.refuse(f"p is {p}, not 1 or 2", code=Code.MODEL_MALFORMED)
    absolute = p == 1
    powers = node.unary(UnaryFunction.ABS, x) if absolute else node.binary(BinaryFunction.MUL, x, x)
    total = node.emit(Reduce(ReduceFunction.SUM, (axis,)), powers)
    norm = total if absolute else node.unary(UnaryFunction.SQRT, total)
    is_zero = node.binary(BinaryFunction.EQUAL, norm, 0)
    divisor = node.select(is_zero, node.scalar(1, x.type.dtype), norm)
    return (node.binary(BinaryFunction.DIV, x, divisor),)


OPERATORS = (
    Operator("", "LayerNormalization", 1, import_layer_normalization),
    Operator("", "SimplifiedLayerNormalization", 1, import_rms_normalization),
    Operator("", "RMSNormalization", 23, import_rms_normalization),
    Operator("", "InstanceNormalization", 1, import_instance_normalization),
    Operator("", "GroupNormalization", 21, import_group_normalization),
    Operator("", "MeanVarianceNormalization", 9, import_mean_variance_normalization),
    Operator("", "LRN", 1, import_lrn),
    Operator("", "LpNormalization", 1, import_lp_normalization),
)
