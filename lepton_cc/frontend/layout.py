"""ONNX operators that lay elements out in a new frame: Col2Im, MaxUnpool, CenterCropPad."""

import math
from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.indexing import scatter_rows
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.windows import explicit_pads, spatial_dims, spatial_ints
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Pad, Slice
from lepton_cc.ir.ops.scatter import ScatterFunction
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array


def _zeros(node: NodeView, like: Value, shape: Sequence[int]) -> Value:
    return node.constant_value(np.zeros(shape, like.type.dtype.numpy))


def image_positions(window: Window, image: Sequence[int]) -> Array:
    """Where each tap of each window lands: linear positions [taps * windows], -1 in the padding."""
    lines = []
    for axis, out in enumerate(window.output_dims(tuple(image))):
        taps = np.arange(window.size[axis]) * window.dilations[axis]
        starts = np.arange(out) * window.strides[axis] - window.low[axis]
        lines.append(taps[:, None] + starts)
    rank = len(image)
    linear = np.zeros((1,) * (2 * rank), np.int64)
    inside = np.ones((1,) * (2 * rank), np.bool_)
    for axis, line in enumerate(lines):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = line.shape
        place = line.reshape(shape)
        linear = linear * image[axis] + place
        inside = inside & (place >= 0) & (place < image[axis])
    return np.where(inside, linear, -1).reshape(-1).astype(np.int32)


def import_col2im(node: NodeView) -> Sequence[Value | None]:
    """Col2Im with shapes that are known at compile time: a scatter that adds."""
    x = node.operand(0)
    image, block = node.constant_ints(1), node.constant_ints(2)
    rank = len(image)
    node.check_rank(x, 3, 3)
    if len(block) != rank or min((*block, *image), default=0) < 1:
        node.refuse(f"blocks {list(block)} of {list(image)}", code=Code.MODEL_MALFORMED)
    low, high = explicit_pads(node, rank)
    strides = spatial_ints(node, "strides", rank, 1)
    dilations = spatial_ints(node, "dilations", rank, 1)
    window = Window(block, strides, dilations, low, high)
    batch, rows, count = x.type.dims
    taps = math.prod(block)
    if rows % taps or math.prod(window.output_dims(image)) != count:
        node.refuse(f"blocks {x.type} do not fill {list(image)}", code=Code.MODEL_MALFORMED)
    channels = rows // taps
    node.check_table(batch * channels, *image)
    node.check_table(taps, count)
    blocks = node.reshape(x, (batch * channels, taps * count))
    updates = node.transpose(blocks, (1, 0))
    target = _zeros(node, x, (math.prod(image), batch * channels))
    positions = node.constant_value(image_positions(window, image))
    summed = scatter_rows(node, target, positions, updates, ScatterFunction.ADD)
    return (node.reshape(node.transpose(summed, (1, 0)), (batch, channels, *image)),)


def import_max_unpool(node: NodeView) -> Sequence[Value | None]:
    """MaxUnpool: values go back to the indices that MaxPool gave."""
    x, indices = node.operand(0), node.operand(1)
    dims = spatial_dims(node, x)
    size = node.ints("kernel_shape")
    strides = spatial_ints(node, "strides", len(dims), 1)
    low, high = explicit_pads(node, len(dims))
    if len(size) != len(dims):
        node.refuse(f"kernel_shape {list(size)} for {x.type}", code=Code.MODEL_MALFORMED)
    parts = zip(dims, size, strides, low, high, strict=True)
    spatial = tuple((n - 1) * s + k - before - after for n, k, s, before, after in parts)
    shape = (*x.type.dims[:2], *spatial)
    wish = node.constant_ints(2) if node.optional(2) is not None else shape
    if len(wish) != len(shape) or any(w < s for w, s in zip(wish, shape, strict=True)):
        node.refuse(f"output_shape {list(wish)} for {list(shape)}", code=Code.MODEL_MALFORMED)
    node.check_table(*shape)
    flat = _zeros(node, x, (math.prod(shape),))
    scattered = scatter_rows(node, flat, indices, x, ScatterFunction.ASSIGN)
    y = node.reshape(scattered, shape)
    if wish == shape:
        return (y,)
    grown = tuple(w - s for w, s in zip(wish, shape, strict=True))
    return (node.emit(Pad((0,) * len(shape), grown), y, None),)


def import_center_crop_pad(node: NodeView) -> Sequence[Value | None]:
    """CenterCropPad to sizes that are known at compile time."""
    x = node.operand(0)
    rank = x.type.rank
    axes = [node.axis(axis, rank) for axis in node.ints("axes", range(rank))]
    sizes = node.constant_ints(1)
    if len(sizes) != len(axes):
        node.refuse(f"{len(sizes)} sizes for {len(axes)} axes", code=Code.MODEL_MALFORMED)
    wish = dict(zip(axes, sizes, strict=True))
    dims = x.type.dims
    out = [wish.get(axis, dim) for axis, dim in enumerate(dims)]
    kept = tuple(min(pair) for pair in zip(dims, out, strict=True))
    starts = tuple((dim - keep) // 2 for dim, keep in zip(dims, kept, strict=True))
    cropped = x if kept == dims else node.emit(Slice(starts, kept, (1,) * rank), x)
    if kept == tuple(out):
        return (cropped,)
    low = tuple((size - keep) // 2 for size, keep in zip(out, kept, strict=True))
    high = tuple(o - k - before for o, k, before in zip(out, kept, low, strict=True))
    return (node.emit(Pad(low, high), cropped, None),)


OPERATORS = (
    Operator("", "Col2Im", 18, import_col2im),
    Operator("", "MaxUnpool", 9, import_max_unpool),
    Operator("", "CenterCropPad", 18, import_center_crop_pad),
)
