"""ONNX Runtime's own float operators, which its optimizer and its exporters put into models."""

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from lepton_cc.frontend.activations import gelu_tanh
from lepton_cc.frontend.integer import integer_product, scalar_like
from lepton_cc.frontend.linear import matmul
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.normalization import layer_norm
from lepton_cc.frontend.quantization import dynamically_quantized
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.ops.normalization import RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.tensor import Array


def import_gelu(node: NodeView) -> Sequence[Value | None]:
    """Gelu with the error function."""
    return (node.unary(U.GELU, node.operand(0)),)


def import_bias_gelu(node: NodeView) -> Sequence[Value | None]:
    """BiasGelu with the error function."""
    return (node.unary(U.GELU, node.binary(B.ADD, node.operand(0), node.operand(1))),)


def import_fast_gelu(node: NodeView) -> Sequence[Value | None]:
    """FastGelu: gelu by tanh, with an optional bias."""
    x, bias = node.operand(0), node.optional(1)
    return (gelu_tanh(node, x if bias is None else node.binary(B.ADD, x, bias)),)


def import_quick_gelu(node: NodeView) -> Sequence[Value | None]:
    """QuickGelu: x sigmoid(alpha x)."""
    x = node.operand(0)
    scaled = node.binary(B.MUL, x, node.float("alpha", 1.702))
    return (node.binary(B.MUL, x, node.unary(U.SIGMOID, scaled)),)


def _last_two_swapped(node: NodeView, x: Value) -> Value:
    rank = x.type.rank
    return node.emit_folded(Transpose((*range(rank - 2), rank - 1, rank - 2)), x)


def import_fused_matmul(node: NodeView) -> Sequence[Value | None]:
    """FusedMatMul: a scaled product of possibly transposed matrices."""
    if node.flag("transBatchA") or node.flag("transBatchB"):
        node.refuse("transposed batches are not supported")
    sides = []
    for index, name in ((0, "transA"), (1, "transB")):
        x = node.operand(index)
        sides.append(_last_two_swapped(node, x) if node.flag(name) and x.type.rank > 1 else x)
    y, alpha = matmul(node, sides[0], sides[1]), node.float("alpha", 1.0)
    return (y if alpha == 1 else node.binary(B.MUL, y, alpha),)


def _skipped(node: NodeView, bias: int) -> Value:
    """The sum of the input, the skipped input and the bias."""
    total = node.binary(B.ADD, node.operand(0), node.operand(1))
    extra = node.optional(bias)
    return total if extra is None else node.binary(B.ADD, total, extra)


def import_skip_layer_normalization(node: NodeView) -> Sequence[Value | None]:
    """SkipLayerNormalization, without the outputs that only training needs."""
    if node.output_used(1) or node.output_used(2):
        node.refuse("outputs mean and inv_std_var are not supported")
    total = _skipped(node, 4)
    parameters = (node.operand(2), node.optional(3))
    axis = total.type.rank - 1
    y = layer_norm(node, total, parameters, axis, node.float("epsilon", 1e-12))
    return y, None, None, total


def import_skip_simplified_layer_normalization(node: NodeView) -> Sequence[Value | None]:
    """SkipSimplifiedLayerNormalization, without the outputs that only training needs."""
    if node.output_used(1) or node.output_used(2):
        node.refuse("outputs mean and inv_std_var are not supported")
    total = _skipped(node, 3)
    kind = RmsNorm(total.type.rank - 1, node.float("epsilon", 1e-12))
    return node.emit(kind, total, node.operand(2)), None, None, total


def _scaled_product(
    node: NodeView,
    sides: tuple[Value, Value],
    zeros: tuple[Value | None, Value | None],
    scales: tuple[Value, Value],
    bias: Value | None,
) -> Value:
    """f32(integer product) * f32(product of the scales) + bias."""
    lhs_zero, rhs_zero = (None if v is None else scalar_like(node, v) for v in zeros)
    total = node.cast(integer_product(node, sides, (lhs_zero, rhs_zero)), DType.F32)
    scale = node.binary(B.MUL, *(scalar_like(node, value) for value in scales))
    y = node.binary(B.MUL, total, scale)
    return y if bias is None else node.binary(B.ADD, y, bias)


def import_matmul_integer_to_float(node: NodeView) -> Sequence[Value | None]:
    """MatMulIntegerToFloat with scales and zero points for each tensor or output column."""
    sides, scales = (node.operand(0), node.operand(1)), (node.operand(2), node.operand(3))
    zeros = node.optional(4), node.optional(5)
    return (_scaled_product(node, sides, zeros, scales, node.optional(6)),)


def import_dynamic_quantize_matmul(node: NodeView) -> Sequence[Value | None]:
    """DynamicQuantizeMatMul: the left side is quantized by its own range at run time."""
    x, scale, zero_point = dynamically_quantized(node, node.operand(0))
    sides, zeros = (x, node.operand(1)), (zero_point, node.optional(3))
    return (_scaled_product(node, sides, zeros, (scale, node.operand(2)), node.optional(4)),)


def _nibbles(packed: Array, count: int) -> Array:
    """The 4-bit numbers of each row of bytes, low half first, the first `count` of them."""
    pairs = np.stack((packed & 15, packed >> 4), axis=-1)
    return pairs.reshape(*packed.shape[:-1], -1)[..., :count]


def import_matmul_nbits(node: NodeView) -> Sequence[Value | None]:
    """MatMulNBits with weights of 4 or 8 bits that are known at compile time."""
    depth, columns = node.int("K"), node.int("N")
    bits, block = node.int("bits", 4), node.int("block_size")
    if bits not in (4, 8) or node.optional(4) is not None:
        node.refuse(f"weights of {bits} bits, or in an order of their own, are not supported")
    if min(depth, columns, block) < 1 or depth % block or block * bits % 8:
        node.refuse(
            f"K is {depth}, N {columns}, the block size {block}", "K must hold whole blocks"
        )
    blocks = depth // block
    stored = node.constant(1)
    if stored.dtype != np.uint8 or stored.size != columns * depth * bits // 8:
        node.refuse(f"weights {node.operand(1).type}", code=Code.MODEL_MALFORMED)
    packed = stored.reshape(columns, blocks, -1)
    numbers = _nibbles(packed, block) if bits == 4 else packed
    dtype = np.dtype(ml_dtypes.uint4) if bits == 4 else np.dtype(np.uint8)
    zeros = np.full((columns, blocks, 1), 1 << (bits - 1), np.uint8)
    given = node.optional_constant(3)
    num_bytes = columns * -(-blocks * bits // 8)
    if given is not None and given.dtype == np.uint8 and given.size == num_bytes:
        rows = given.reshape(columns, -1)
        zeros = (_nibbles(rows, blocks) if bits == 4 else rows).reshape(columns, blocks, 1)
    elif given is not None:
        node.refuse(f"zero points {given.dtype}{list(given.shape)} are not supported")
    if bits == 4 and np.all(zeros == 8):
        numbers, zeros, dtype = numbers.astype(np.int8) - 8, zeros * 0, np.dtype(ml_dtypes.int4)
    # Columns last, as products read them.
    scale = node.emit_folded(
        Transpose((1, 2, 0)), node.reshape(node.operand(2), (columns, blocks, 1))
    )
    parts = [numbers, zeros] if np.any(zeros) else [numbers]
    integers, *points = (
        node.constant_value(part.astype(dtype).transpose(1, 2, 0)) for part in parts
    )
    weights = node.emit(Dequantize(scale.type.dtype), integers, scale, *points)
    right = node.reshape(weights, (depth, columns))
    y = matmul(node, node.operand(0), right)
    bias = node.optional(5)
    return (y if bias is None else node.binary(B.ADD, y, bias),)


_IMPORTERS = {
    "Gelu": import_gelu,
    "BiasGelu": import_bias_gelu,
    "FastGelu": import_fast_gelu,
    "QuickGelu": import_quick_gelu,
    "FusedMatMul": import_fused_matmul,
    "SkipLayerNormalization": import_skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": import_skip_simplified_layer_normalization,
    "DynamicQuantizeMatMul": import_dynamic_quantize_matmul,
    "MatMulIntegerToFloat": import_matmul_integer_to_float,
    "MatMulNBits": import_matmul_nbits,
}

OPERATORS = tuple(
    Operator("com.microsoft", name, 1, importer) for name, importer in _IMPORTERS.items()
)
