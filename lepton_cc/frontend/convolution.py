"""ONNX Conv and ConvTranspose: layouts become explicit transposes, automatic padding numbers."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.windows import (
    auto_pad,
    explicit_pads,
    spatial_dims,
    spatial_ints,
    window_of,
)
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.ops.window import Window


def to_channels_last(node: NodeView, x: Value) -> Value:
    """[N, C, *S] as [N, *S, C]."""
    return node.transpose(x, (0, *range(2, x.type.rank), 1))


def to_channels_first(node: NodeView, x: Value) -> Value:
    """[N, *S, C] as [N, C, *S]."""
    return node.transpose(x, (0, x.type.rank - 1, *range(1, x.type.rank - 1)))


def _kernel_size(node: NodeView, x: Value, weights: Value) -> tuple[int, ...]:
    dims = spatial_dims(node, x)
    if weights.type.rank != x.type.rank:
        node.refuse(f"weights {weights.type} for {x.type}", code=Code.TYPE_MISMATCH)
    size = weights.type.dims[2:]
    if node.ints("kernel_shape", size) != size or len(size) != len(dims):
        node.refuse(f"kernel_shape does not match weights {weights.type}", code=Code.TYPE_MISMATCH)
    return size


def _groups(node: NodeView) -> int:
    groups = node.int("group", 1)
    if groups < 1:
        node.refuse(f"group is {groups}", code=Code.MODEL_MALFORMED)
    return groups


def import_conv(node: NodeView) -> Sequence[Value | None]:
    """Conv of any rank, grouped and dilated, with every auto_pad."""
    x, weights = node.operand(0), node.operand(1)
    size = _kernel_size(node, x, weights)
    window, _ = window_of(node, spatial_dims(node, x), size)
    order = (*range(2, weights.type.rank), 1, 0)
    packed = node.emit_folded(Transpose(order), weights)
    kind = Conv(window, _groups(node))
    y = node.emit(kind, to_channels_last(node, x), packed, node.optional(2))
    return (to_channels_first(node, y),)


def import_conv_transpose(node: NodeView) -> Sequence[Value | None]:
    """ConvTranspose of any rank, grouped and dilated, with output_shape and every auto_pad."""
    x, weights = node.operand(0), node.operand(1)
    size = _kernel_size(node, x, weights)
    window, output_padding = _transposed_window(node, spatial_dims(node, x), size)
    order = (*range(2, weights.type.rank), 0, 1)
    packed = node.emit_folded(Transpose(order), weights)
    kind = ConvTranspose(window, output_padding, _groups(node))
    y = node.emit(kind, to_channels_last(node, x), packed, node.optional(2))
    return (to_channels_first(node, y),)


def _transposed_window(
    node: NodeView, dims: Sequence[int], size: tuple[int, ...]
) -> tuple[Window, tuple[int, ...]]:
    """The window and the output padding; ONNX ConvTranspose-22 has the equations."""
    rank, mode = len(dims), auto_pad(node)
    strides = spatial_ints(node, "strides", rank, 1)
    dilations = spatial_ints(node, "dilations", rank, 1)
    output_padding = spatial_ints(node, "output_padding", rank, 0)
    low, high = explicit_pads(node, rank)
    if min((*size, *strides, *dilations)) < 1 or min((*low, *high, *output_padding)) < 0:
        node.refuse("a stride, dilation or padding is out of range", code=Code.MODEL_MALFORMED)
    wish = node.ints("output_shape", ())
    if not wish and mode.startswith("SAME"):
        wish = tuple(dim * stride for dim, stride in zip(dims, strides, strict=True))
    if mode == "VALID" and not wish:
        low, high = (0,) * rank, (0,) * rank
    if not wish:
        return Window(size, strides, dilations, low, high), output_padding
    if len(wish) != rank:
        node.refuse(f"output_shape {list(wish)} for rank {rank}", code=Code.MODEL_MALFORMED)
    parts = zip(dims, size, strides, dilations, output_padding, wish, strict=True)
    totals = [(n - 1) * s + p + (k - 1) * d + 1 - out for n, k, s, d, p, out in parts]
    grown = tuple(p + max(0, -t) for p, t in zip(output_padding, totals, strict=True))
    smaller = tuple(max(0, total) // 2 for total in totals)
    larger = tuple(max(0, total) - max(0, total) // 2 for total in totals)
    low, high = (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)
    return Window(size, strides, dilations, low, high), grown


OPERATORS = (
    Operator("", "Conv", 1, import_conv),
    Operator("", "ConvTranspose", 1, import_conv_transpose),
)
