"""ONNX Runtime's QLinear operators: computed on the reals that the integers stand for.

Quantized models in its operator format hold them beside QLinearConv and QLinearMatMul. What they
give equals ONNX Runtime's result but for the last bit of a tie.
"""

from collections.abc import Sequence

from lepton_cc.frontend.convolution import to_channels_first, to_channels_last
from lepton_cc.frontend.integer import scalar_like
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.reductions import softmax
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.frontend.windows import window_of
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.pool import AveragePool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction


def _real(node: NodeView, first: int) -> Value:
    """The reals of operand `first`, whose scale and zero point follow it."""
    scale = scalar_like(node, node.operand(first + 1))
    zero_point = node.optional(first + 2)
    offset = None if zero_point is None else scalar_like(node, zero_point)
    operands = (scale,) if offset is None else (scale, offset)
    return node.emit(Dequantize(DType.F32), node.operand(first), *operands)


def _quantized(node: NodeView, y: Value, first: int, dtype: DType) -> Sequence[Value | None]:
    """y quantized by the scale at operand `first` and the zero point after it."""
    scale = scalar_like(node, node.operand(first))
    zero_point = node.optional(first + 1)
    if zero_point is None:
        return (node.emit(Quantize(dtype), y, scale),)
    offset = scalar_like(node, zero_point)
    return (node.emit(Quantize(offset.type.dtype), y, scale, offset),)


def _binary(function: BinaryFunction) -> Importer:
    def import_binary(node: NodeView) -> Sequence[Value | None]:
        """With broadcasting; scales and zero points for each tensor."""
        y = node.binary(function, _real(node, 0), _real(node, 3))
        return _quantized(node, y, 6, node.operand(0).type.dtype)

    return import_binary


def import_qlinear_sigmoid(node: NodeView) -> Sequence[Value | None]:
    """QLinearSigmoid."""
    y = node.unary(UnaryFunction.SIGMOID, _real(node, 0))
    return _quantized(node, y, 3, node.operand(0).type.dtype)


def import_qlinear_leaky_relu(node: NodeView) -> Sequence[Value | None]:
    """QLinearLeakyRelu."""
    x = _real(node, 0)
    scaled = node.binary(BinaryFunction.MUL, x, node.float("alpha", 0.01))
    y = node.select(node.binary(BinaryFunction.LESS, x, 0), scaled, x)
    return _quantized(node, y, 3, node.operand(0).type.dtype)


def import_qlinear_softmax(node: NodeView) -> Sequence[Value | None]:
    """QLinearSoftmax of one axis (its opset attribute is at least 13)."""
    if node.int("opset") < 13:
        node.refuse("softmax of flattened dimensions", "convert the model to opset 13")
    x = _real(node, 0)
    y = softmax(node, x, node.axis(node.int("axis", -1), x.type.rank))
    return _quantized(node, y, 3, node.operand(0).type.dtype)


def import_qlinear_concat(node: NodeView) -> Sequence[Value | None]:
    """QLinearConcat: each part has its own scale and zero point."""
    if len(node.operands) < 5 or (len(node.operands) - 2) % 3:
        node.refuse(f"has {len(node.operands)} inputs", code=Code.MODEL_MALFORMED)
    parts = [_real(node, first) for first in range(2, len(node.operands), 3)]
    axis = node.axis(node.int("axis"), parts[0].type.rank)
    y = node.emit(Concat(axis), *parts)
    return _quantized(node, y, 0, node.operand(2).type.dtype)


def _channels_last(node: NodeView, x: Value) -> Value:
    return x if node.flag("channels_last") else to_channels_last(node, x)


def _as_given(node: NodeView, y: Value) -> Value:
    return y if node.flag("channels_last") else to_channels_first(node, y)


def import_qlinear_average_pool(node: NodeView) -> Sequence[Value | None]:
    """QLinearAveragePool in either layout."""
    x = _channels_last(node, _real(node, 0))
    dims, size = x.type.dims[1:-1], node.ints("kernel_shape")
    window, extra = window_of(node, dims, size, ceil=node.flag("ceil_mode"))
    kind = AveragePool(window, node.flag("count_include_pad"), extra if any(extra) else ())
    y = _as_given(node, node.emit(kind, x))
    return _quantized(node, y, 3, node.operand(0).type.dtype)


def import_qlinear_global_average_pool(node: NodeView) -> Sequence[Value | None]:
    """QLinearGlobalAveragePool in either layout."""
    x = _real(node, 0)
    first = 1 if node.flag("channels_last") else 2
    axes = tuple(range(first, first + x.type.rank - 2))
    y = node.emit(Reduce(ReduceFunction.MEAN, axes), x)
    return _quantized(node, y, 3, node.operand(0).type.dtype)


_IMPORTERS = {
    "QLinearAdd": _binary(BinaryFunction.ADD),
    "QLinearMul": _binary(BinaryFunction.MUL),
    "QLinearSigmoid": import_qlinear_sigmoid,
    "QLinearLeakyRelu": import_qlinear_leaky_relu,
    "QLinearSoftmax": import_qlinear_softmax,
    "QLinearConcat": import_qlinear_concat,
    "QLinearAveragePool": import_qlinear_average_pool,
    "QLinearGlobalAveragePool": import_qlinear_global_average_pool,
}

OPERATORS = tuple(
    Operator("com.microsoft", name, 1, importer) for name, importer in _IMPORTERS.items()
)
