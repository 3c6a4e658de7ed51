"""ONNX integer contractions: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv, QGemm.

Products of differences to the zero points accumulate in i32, and a result goes back to 8 bits by
`requantized`, bit for bit as docs/numerics.md defines it.
"""

from collections.abc import Sequence

from lepton_cc.frontend.convolution import to_channels_first, to_channels_last
from lepton_cc.frontend.linear import matmul
from lepton_cc.frontend.narrow import Operand, activation, known_integer, requantize, weights
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.quantization import quantization_parameter
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.windows import spatial_dims, window_of
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction

# Beyond the range of every 16-bit type with any zero point, and exact in binary32.
_FAR = float(1 << 20)


def centered(node: NodeView, x: Value, zero_point: Value | None) -> Value:
    """The integers x - zero_point as i32; the zero point broadcasts."""
    wide = node.emit_folded(Cast(DType.I32), x)
    if zero_point is None:
        return wide
    offset = node.emit_folded(Cast(DType.I32), zero_point)
    return node.emit_folded(Binary(BinaryFunction.SUB), wide, offset)


def requantized(node: NodeView, total: Value, multiplier: Value, zero_point: Value) -> Value:
    """clamp(round(f32(total) * multiplier) + zero_point), in the zero point's type.

    Rounds half to even; the zero point is added as an integer.
    """
    dtype = zero_point.type.dtype
    if not dtype.is_integer:
        node.refuse(f"the zero point is {zero_point.type}, no integer", code=Code.TYPE_MISMATCH)
    narrow = requantize(node, total, multiplier, zero_point)
    if narrow is not None:
        return narrow
    low, high = integer_bounds(dtype)
    scaled = node.binary(BinaryFunction.MUL, node.cast(total, DType.F32), multiplier)
    rounded = node.emit(Clamp(-_FAR, _FAR), node.unary(UnaryFunction.ROUND, scaled))
    offset = node.emit_folded(Cast(DType.I32), zero_point)
    shifted = node.binary(BinaryFunction.ADD, node.cast(rounded, DType.I32), offset)
    return node.cast(node.emit(Clamp(low, high), shifted), dtype)


def output_multiplier(node: NodeView, x_scale: Value, w_scale: Value, y_scale: Value) -> Value:
    """f32(f32(x_scale * w_scale) / y_scale)."""
    product = node.emit_folded(Binary(BinaryFunction.MUL), x_scale, w_scale)
    return node.emit_folded(Binary(BinaryFunction.DIV), product, y_scale)


def _per_row(node: NodeView, parameter: Value | None, x: Value) -> Value | None:
    """A matrix's parameter for each row, made to broadcast; a scalar stays one."""
    if parameter is None or parameter.type.rank != 1 or parameter.type.num_elements == 1:
        return None if parameter is None else scalar_like(node, parameter)
    if x.type.rank < 2 or parameter.type.dims[0] != x.type.dims[-2]:
        node.refuse(f"{parameter.type} for the rows of {x.type}", code=Code.MODEL_MALFORMED)
    return node.reshape(parameter, (parameter.type.dims[0], 1))


def scalar_like(node: NodeView, parameter: Value) -> Value:
    """A parameter of one element as a scalar; others as they are."""
    return node.reshape(parameter, ()) if parameter.type.num_elements == 1 else parameter


def _optional_scalar(node: NodeView, index: int) -> Value | None:
    value = node.optional(index)
    return None if value is None else scalar_like(node, value)


def integer_product(
    node: NodeView, sides: tuple[Value, Value], zero_points: tuple[Value | None, Value | None]
) -> Value:
    """The i32 product of matrices, each less its zero point."""
    (lhs, rhs), (lhs_zero, rhs_zero) = sides, zero_points
    left = activation(node, lhs, lhs_zero)
    if node.content(rhs) is None and known_integer(node, rhs_zero) is not None:
        right = activation(node, rhs, rhs_zero)
    else:
        right = Operand(weights(node, rhs, rhs_zero))
    if max(left.value.type.dtype.bits, right.value.type.dtype.bits) > 16:
        left, right = (
            Operand(centered(node, *pair)) for pair in ((lhs, lhs_zero), (rhs, rhs_zero))
        )
    kind = MatMul(left.zero_point, right.zero_point)
    return matmul(node, left.value, right.value, kind)


def import_matmul_integer(node: NodeView) -> Sequence[Value | None]:
    """MatMulInteger with zero points for each row of the left, each column of the right side."""
    lhs, rhs = node.operand(0), node.operand(1)
    zeros = _per_row(node, node.optional(2), lhs), _optional_scalar(node, 3)
    return (integer_product(node, (lhs, rhs), zeros),)


def import_qlinear_matmul(node: NodeView) -> Sequence[Value | None]:
    """QLinearMatMul with scales for each row of the left, each column of the right side."""
    lhs, rhs = node.operand(0), node.operand(3)
    lhs_scale, lhs_zero = (_per_row(node, node.operand(index), lhs) for index in (1, 2))
    rhs_scale, rhs_zero = (scalar_like(node, node.operand(index)) for index in (4, 5))
    y_scale, y_zero = (scalar_like(node, node.operand(index)) for index in (6, 7))
    total = integer_product(node, (lhs, rhs), (lhs_zero, rhs_zero))
    assert lhs_scale is not None
    multiplier = output_multiplier(
        node, *(node.cast(v, DType.F32) for v in (lhs_scale, rhs_scale, y_scale))
    )
    return (requantized(node, total, multiplier, y_zero),)


def _per_output(node: NodeView, parameter: Value | None, rank: int) -> Value | None:
    """A parameter [O] of weights [O, C, *K], made to broadcast to them."""
    if parameter is None:
        return None
    if parameter.type.num_elements == 1:
        return node.reshape(parameter, ())
    return node.reshape(parameter, (parameter.type.num_elements, *[1] * (rank - 1)))


def _integer_conv(
    node: NodeView,
    sides: tuple[Value, Value],
    zero_points: tuple[Value | None, Value | None],
    bias: Value | None,
) -> Value:
    """The i32 convolution of x [N, C, *S] by weights [O, C / groups, *K]: [N, *S, O]."""
    (given, kernel), (x_zero, w_zero) = sides, zero_points
    if kernel.type.rank != given.type.rank:
        node.refuse(f"weights {kernel.type} for {given.type}", code=Code.MODEL_MALFORMED)
    size = kernel.type.dims[2:]
    window, _ = window_of(node, spatial_dims(node, given), size)
    x, taps = activation(node, given, x_zero), weights(node, kernel, w_zero)
    if max(x.value.type.dtype.bits, taps.type.dtype.bits) > 16:
        x, taps = Operand(centered(node, given, x_zero)), centered(node, kernel, w_zero)
    order = (*range(2, kernel.type.rank), 1, 0)
    packed = node.emit_folded(Transpose(order), taps)
    kind = Conv(window, node.int("group", 1), x.zero_point)
    images = to_channels_last(node, x.value)
    if bias is None or node.content(bias) is not None:
        return node.emit(kind, images, packed, bias)
    # Nothing is known of its size, so that it is added with wrapping.
    return node.binary(BinaryFunction.ADD, node.emit(kind, images, packed), bias)


def import_conv_integer(node: NodeView) -> Sequence[Value | None]:
    """ConvInteger with a zero point for each output channel of the weights."""
    x, kernel = node.operand(0), node.operand(1)
    zeros = _optional_scalar(node, 2), _per_output(node, node.optional(3), kernel.type.rank)
    return (to_channels_first(node, _integer_conv(node, (x, kernel), zeros, None)),)


def import_qlinear_conv(node: NodeView) -> Sequence[Value | None]:
    """QLinearConv with scales and zero points for each output channel of the weights."""
    kernel = node.operand(3)
    x_scale, x_zero = (scalar_like(node, node.operand(index)) for index in (1, 2))
    w_scale = scalar_like(node, node.operand(4))
    w_zero = _per_output(node, node.operand(5), kernel.type.rank)
    y_scale, y_zero = (scalar_like(node, node.operand(index)) for index in (6, 7))
    sides = node.operand(0), kernel
    total = _integer_conv(node, sides, (x_zero, w_zero), node.optional(8))
    # Channels are last here, so that a scale for each of them broadcasts as it is.
    multiplier = output_multiplier(node, x_scale, w_scale, y_scale)
    return (to_channels_first(node, requantized(node, total, multiplier, y_zero)),)


def import_qgemm(node: NodeView) -> Sequence[Value | None]:
    """ONNX Runtime's QGemm with alpha 1; without an output scale it gives floats."""
    if node.float("alpha", 1.0) != 1.0:
        node.refuse("alpha is not 1")
    a, a_scale, a_zero = node.operand(0), *(scalar_like(node, node.operand(i)) for i in (1, 2))
    b, b_scale, b_zero = node.operand(3), *(scalar_like(node, node.operand(i)) for i in (4, 5))
    axis = 0 if node.flag("transB") else 1
    zero_point = quantization_parameter(node, b_zero, b.type.dims, axis)
    lhs = node.transpose(a, (1, 0)) if node.flag("transA") else a
    rhs = node.emit_folded(Transpose((1, 0)), b) if node.flag("transB") else b
    if node.flag("transB") and zero_point.type.rank == 2:
        zero_point = node.emit_folded(Transpose((1, 0)), zero_point)
    total = integer_product(node, (lhs, rhs), (a_zero, zero_point))
    bias = node.optional(6)
    if bias is not None:
        total = node.binary(BinaryFunction.ADD, total, bias)
    if node.optional(7) is None:
        scale = node.emit_folded(Binary(BinaryFunction.MUL), a_scale, b_scale)
        return (node.binary(BinaryFunction.MUL, node.cast(total, DType.F32), scale),)
    y_scale, y_zero = (scalar_like(node, node.operand(index)) for index in (7, 8))
    multiplier = output_multiplier(node, a_scale, b_scale, y_scale)
    return (requantized(node, total, multiplier, y_zero),)


OPERATORS = (
    Operator("", "MatMulInteger", 10, import_matmul_integer),
    Operator("", "ConvInteger", 10, import_conv_integer),
    Operator("", "QLinearMatMul", 10, import_qlinear_matmul),
    Operator("", "QLinearConv", 10, import_qlinear_conv),
    Operator("com.microsoft", "QGemm", 1, import_qgemm),
)
