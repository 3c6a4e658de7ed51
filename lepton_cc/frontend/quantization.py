"""ONNX QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.tensors import DTYPES
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Broadcast, Reshape, Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction


def quantization_parameter(
    node: NodeView, parameter: Value, dims: Sequence[int], axis: int
) -> Value:
    """A scale or zero point, reshaped so that it broadcasts to `dims`.

    It is a scalar, or [1]; or one entry for each index of `axis`; or, blocked, of the rank of
    `dims` with one entry for each block along `axis`.
    """
    given = parameter.type.dims
    if parameter.type.num_elements == 1 and len(given) <= 1:
        return node.reshape(parameter, ())
    axis = node.axis(axis, len(dims))
    if len(given) == 1:
        if given[0] != dims[axis]:
            node.refuse(
                f"{parameter.type} for {dims[axis]} entries of axis {axis}",
                code=Code.MODEL_MALFORMED,
            )
        return node.emit_folded(Reshape((given[0], *[1] * (len(dims) - axis - 1))), parameter)
    return _repeated_blocks(node, parameter, dims, axis)


def _repeated_blocks(node: NodeView, parameter: Value, dims: Sequence[int], axis: int) -> Value:
    """A blocked parameter with each entry repeated for all elements of its block."""
    given = parameter.type.dims
    block = node.int("block_size", 0)
    before, after = tuple(dims[:axis]), tuple(dims[axis + 1 :])
    fits = len(given) == len(dims) and given[:axis] == before and given[axis + 1 :] == after
    if not fits or block < 1 or given[axis] != -(-dims[axis] // block):
        node.refuse(
            f"{parameter.type} for blocks of {block} on axis {axis}", code=Code.MODEL_MALFORMED
        )
    blocks = given[axis]
    column = node.emit(Reshape((*before, blocks, 1, *after)), parameter)
    repeated = node.emit(Broadcast((*before, blocks, block, *after)), column)
    merged = node.emit(Reshape((*before, blocks * block, *after)), repeated)
    rank = len(dims)
    return node.emit_folded(Slice((0,) * rank, tuple(dims), (1,) * rank), merged)


def _output_dtype(node: NodeView, default: DType) -> DType:
    number = node.int("output_dtype", 0)
    if number == 0:
        return default
    if number not in DTYPES:
        node.refuse(f"output_dtype {number} is unknown", code=Code.UNSUPPORTED_TYPE)
    return DTYPES[number]


def _parameters(node: NodeView) -> tuple[Value, Value | None]:
    x, scale, zero_point = node.operand(0), node.operand(1), node.optional(2)
    axis = node.int("axis", 1)
    if zero_point is None:
        return quantization_parameter(node, scale, x.type.dims, axis), None
    return (
        quantization_parameter(node, scale, x.type.dims, axis),
        quantization_parameter(node, zero_point, x.type.dims, axis),
    )


def import_quantize_linear(node: NodeView) -> Sequence[Value | None]:
    """QuantizeLinear to integers of at most 16 bits and floats of at most 8; all granularities."""
    scale, zero_point = _parameters(node)
    default = DType.U8 if zero_point is None else zero_point.type.dtype
    kind = Quantize(_output_dtype(node, default), node.flag("saturate", default=True))
    return (node.emit(kind, node.operand(0), scale, zero_point),)


def _dequantized_blocks(node: NodeView) -> Value | None:
    """Whole blocks as a dimension of their own, along which scales broadcast; None without them."""
    x, scale, zero_point = node.operand(0), node.operand(1), node.optional(2)
    dims, block = x.type.dims, node.int("block_size", 0)
    if block < 1 or scale.type.rank != len(dims):
        return None
    axis = node.axis(node.int("axis", 1), len(dims))
    before, after = dims[:axis], dims[axis + 1 :]
    blocks = dims[axis] // block
    if dims[axis] % block or scale.type.dims != (*before, blocks, *after):
        return None
    parts = [
        value
        if value is None
        else node.emit_folded(Reshape((*before, blocks, size, *after)), value)
        for value, size in ((x, block), (scale, 1), (zero_point, 1))
    ]
    kind = Dequantize(_output_dtype(node, scale.type.dtype))
    return node.reshape(node.emit(kind, *parts), dims)


def import_dequantize_linear(node: NodeView) -> Sequence[Value | None]:
    """DequantizeLinear of integers and floats of at most 8 bits, and of i32; all granularities."""
    blocked = _dequantized_blocks(node)
    if blocked is not None:
        return (blocked,)
    scale, zero_point = _parameters(node)
    dtype = _output_dtype(node, scale.type.dtype)
    return (node.emit(Dequantize(dtype), node.operand(0), scale, zero_point),)


def dynamically_quantized(node: NodeView, x: Value) -> tuple[Value, Value, Value]:
    """x as u8 with the scale and zero point of its own range, and these two."""
    axes = tuple(range(x.type.rank))
    highest = node.emit(Reduce(ReduceFunction.MAX, axes, keep_dims=False), x)
    lowest = node.emit(Reduce(ReduceFunction.MIN, axes, keep_dims=False), x)
    highest = node.binary(BinaryFunction.MAX, highest, 0)
    lowest = node.binary(BinaryFunction.MIN, lowest, 0)
    span = node.binary(BinaryFunction.SUB, highest, lowest)
    scale = node.binary(BinaryFunction.DIV, span, 255)
    # Of a tensor of zeros: any scale but 0 gives the right integers.
    empty = node.binary(BinaryFunction.EQUAL, scale, 0)
    divisor = node.select(empty, node.scalar(1, x.type.dtype), scale)
    negated = node.binary(BinaryFunction.SUB, node.scalar(0, x.type.dtype), lowest)
    zero_point = node.emit(Quantize(DType.U8), negated, divisor)
    return node.emit(Quantize(DType.U8), x, divisor, zero_point), scale, zero_point


def import_dynamic_quantize_linear(node: NodeView) -> Sequence[Value | None]:
    """DynamicQuantizeLinear: u8 with the scale and zero point of the tensor's own range."""
    return dynamically_quantized(node, node.operand(0))


OPERATORS = (
    Operator("", "QuantizeLinear", 10, import_quantize_linear),
    Operator("", "DequantizeLinear", 10, import_dequantize_linear),
    Operator("", "DynamicQuantizeLinear", 11, import_dynamic_quantize_linear),
    Operator("com.microsoft", "QuantizeLinear", 1, import_quantize_linear),
    Operator("com.microsoft", "DequantizeLinear", 1, import_dequantize_linear),
)
