"""ONNX operators that move elements: tile, concat, split, slice, pad, gather, depth and space."""

from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat, Gather, Pad, PadMode, Slice


def import_tile(node: NodeView) -> Sequence[Value | None]:
    """Tile with repeats that are known at compile time."""
    x, repeats = node.operand(0), node.constant_ints(1)
    dims = x.type.dims
    if len(repeats) != len(dims) or any(repeat < 0 for repeat in repeats):
        node.refuse(f"repeats {list(repeats)} do not fit {x.type}", code=Code.TYPE_MISMATCH)
    narrow: list[int] = []
    wide: list[int] = []
    for dim, repeat in zip(dims, repeats, strict=True):
        if repeat != 1 and dim != 1:
            narrow.append(1)
            wide.append(repeat)
        narrow.append(dim)
        wide.append(repeat if dim == 1 else dim)
    spread = node.broadcast(node.reshape(x, narrow), wide)
    return (node.reshape(spread, [dim * n for dim, n in zip(dims, repeats, strict=True)]),)


def import_concat(node: NodeView) -> Sequence[Value | None]:
    """Concat along an axis."""
    parts = [node.operand(index) for index in range(len(node.operands))]
    axis = node.axis(node.int("axis"), parts[0].type.rank)
    return (parts[0] if len(parts) == 1 else node.emit(Concat(axis), *parts),)


def slice_axis(node: NodeView, x: Value, axis: int, start: int, size: int) -> Value:
    """`size` elements of one axis from `start` on."""
    starts, sizes = [0] * x.type.rank, list(x.type.dims)
    starts[axis], sizes[axis] = start, size
    if tuple(sizes) == x.type.dims:
        return x
    return node.emit(Slice(tuple(starts), tuple(sizes), (1,) * x.type.rank), x)


def _split_sizes(node: NodeView, dim: int) -> Sequence[int]:
    if node.opset < 13:
        given = node.ints("split") if node.has("split") else None
    else:
        given = None if node.optional(1) is None else node.constant_ints(1)
    if given is not None:
        if sum(given) != dim or min(given, default=0) < 0 or len(given) != node.num_outputs:
            node.refuse(f"split {list(given)} does not divide {dim}", code=Code.TYPE_MISMATCH)
        return given
    count = node.int("num_outputs", node.num_outputs)
    if count != node.num_outputs or (node.opset < 18 and dim % count):
        node.refuse(f"{dim} does not divide into {count} parts", code=Code.TYPE_MISMATCH)
    part = -(-dim // count)
    sizes = [min(part, max(0, dim - part * index)) for index in range(count)]
    return sizes


def import_split(node: NodeView) -> Sequence[Value | None]:
    """Split into given sizes, or into equal parts of which the last may be smaller."""
    x = node.operand(0)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    parts: list[Value | None] = []
    start = 0
    for index, size in enumerate(_split_sizes(node, x.type.dims[axis])):
        used = node.output_used(index)
        parts.append(slice_axis(node, x, axis, start, size) if used else None)
        start += size
    return parts


def slice_bounds(start: int, end: int, step: int, dim: int) -> tuple[int, int]:
    """First index and number of elements of the Python slice start:end:step over `dim`."""
    indices = range(dim)[start:end:step]
    return (indices.start, len(indices)) if len(indices) else (0, 0)


def _sliced(
    node: NodeView,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> Value:
    x = node.operand(0)
    axes = range(len(starts)) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        node.refuse("starts, ends, axes and steps do not match", code=Code.MODEL_MALFORMED)
    firsts, sizes, strides = [0] * x.type.rank, list(x.type.dims), [1] * x.type.rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index = node.axis(axis, x.type.rank)
        firsts[index], sizes[index] = slice_bounds(start, end, step, x.type.dims[index])
        strides[index] = step
    if sizes == list(x.type.dims) and all(step == 1 for step in strides):
        return x
    return node.emit(Slice(tuple(firsts), tuple(sizes), tuple(strides)), x)


def import_slice_attributes(node: NodeView) -> Sequence[Value | None]:
    """Slice with bounds from attributes."""
    axes = node.ints("axes") if node.has("axes") else None
    return (_sliced(node, node.ints("starts"), node.ints("ends"), axes, None),)


def import_slice(node: NodeView) -> Sequence[Value | None]:
    """Slice with any step; the bounds must be known at compile time."""
    axes, steps = (
        None if node.optional(index) is None else node.constant_ints(index) for index in (3, 4)
    )
    return (_sliced(node, node.constant_ints(1), node.constant_ints(2), axes, steps),)


_PAD_MODES = {
    "constant": PadMode.CONSTANT,
    "edge": PadMode.EDGE,
    "reflect": PadMode.REFLECT,
    "wrap": PadMode.WRAP,
}


def _padded(node: NodeView, pads: Sequence[int], axes: Sequence[int], fill: Value | None) -> Value:
    x = node.operand(0)
    name = node.string("mode", "constant")
    if name not in _PAD_MODES:
        node.refuse(f"mode is {name!r}", code=Code.MODEL_MALFORMED)
    if len(pads) != 2 * len(axes):
        node.refuse(f"{len(pads)} pads for {len(axes)} axes", code=Code.MODEL_MALFORMED)
    low, high = [0] * x.type.rank, [0] * x.type.rank
    for position, axis in enumerate(axes):
        index = node.axis(axis, x.type.rank)
        low[index], high[index] = pads[position], pads[len(axes) + position]
    starts = [max(0, -pad) for pad in low]
    sizes = [
        dim - start - max(0, -pad)
        for dim, start, pad in zip(x.type.dims, starts, high, strict=True)
    ]
    if min(sizes, default=0) < 0:
        node.refuse(f"pads {list(pads)} remove more than {x.type} has", code=Code.TYPE_MISMATCH)
    if tuple(sizes) != x.type.dims:
        x = node.emit(Slice(tuple(starts), tuple(sizes), (1,) * x.type.rank), x)
    low, high = [max(0, pad) for pad in low], [max(0, pad) for pad in high]
    if not any(low) and not any(high):
        return x
    mode = _PAD_MODES[name]
    if mode is not PadMode.CONSTANT or fill is None:
        return node.emit(Pad(tuple(low), tuple(high), mode), x)
    if fill.type.num_elements != 1 or fill.type.dtype is not x.type.dtype:
        node.refuse(f"the fill value {fill.type} does not fit {x.type}", code=Code.TYPE_MISMATCH)
    return node.emit(Pad(tuple(low), tuple(high), mode), x, node.reshape(fill, ()))


def import_pad_attributes(node: NodeView) -> Sequence[Value | None]:
    """Pad with amounts from attributes."""
    x = node.operand(0)
    fill = node.scalar(node.float("value", 0.0), x.type.dtype)
    return (_padded(node, node.ints("pads"), range(x.type.rank), fill),)


def import_pad(node: NodeView) -> Sequence[Value | None]:
    """Pad in all modes, negative amounts crop first; amounts must be known at compile time."""
    axes = range(node.operand(0).type.rank)
    given = None if node.optional(3) is None else node.constant_ints(3)
    pads = node.constant_ints(1)
    return (_padded(node, pads, axes if given is None else given, node.optional(2)),)


def import_gather(node: NodeView) -> Sequence[Value | None]:
    """Gather; indices out of range are clamped, and refused if they are known."""
    x, indices = node.operand(0), node.operand(1)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    known, size = node.content(indices), x.type.dims[axis]
    if known is not None and known.size and known.dtype.kind in "iu":
        least, most = int(known.min()), int(known.max())
        if least < -size or most >= size:
            node.refuse(f"an index lies outside {x.type}", code=Code.MODEL_MALFORMED)
    if size == 0 and indices.type.num_elements:
        node.refuse(f"{x.type} has nothing to gather", code=Code.TYPE_MISMATCH)
    return (node.emit(Gather(axis), x, indices),)


def import_compress(node: NodeView) -> Sequence[Value | None]:
    """Compress with a condition that is known at compile time."""
    x, condition = node.operand(0), node.constant(1)
    axis = 0
    if node.has("axis"):
        axis = node.axis(node.int("axis"), x.type.rank)
    else:
        x = node.reshape(x, (x.type.num_elements,))
    (taken,) = np.nonzero(condition.reshape(-1))
    if taken.size and taken[-1] >= x.type.dims[axis]:
        node.refuse(f"the condition is longer than {x.type}", code=Code.TYPE_MISMATCH)
    return (node.emit(Gather(axis), x, node.constant_value(taken.astype(np.int64))),)


def _blocks(node: NodeView) -> tuple[Value, int, tuple[int, int, int, int]]:
    x, block = node.operand(0), node.int("blocksize")
    if x.type.rank != 4 or block < 1:
        node.refuse(f"blocks of {block} in {x.type}", code=Code.TYPE_MISMATCH)
    batch, channels, height, width = x.type.dims
    return x, block, (batch, channels, height, width)


def import_depth_to_space(node: NodeView) -> Sequence[Value | None]:
    """DepthToSpace in both modes, DCR and CRD."""
    x, b, (n, c, h, w) = _blocks(node)
    mode = node.string("mode", "DCR")
    if mode not in ("DCR", "CRD") or c % (b * b):
        node.refuse(f"mode {mode!r} with {c} channels in blocks of {b}", code=Code.MODEL_MALFORMED)
    depth = c // (b * b)
    if mode == "DCR":
        split, order = (n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3)
    y = node.transpose(node.reshape(x, split), order)
    return (node.reshape(y, (n, depth, h * b, w * b)),)


def import_space_to_depth(node: NodeView) -> Sequence[Value | None]:
    """SpaceToDepth in both modes, DCR and CRD."""
    x, b, (n, c, h, w) = _blocks(node)
    if h % b or w % b:
        node.refuse(f"{x.type} does not divide into blocks of {b}", code=Code.TYPE_MISMATCH)
    mode = node.string("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        node.refuse(f"mode is {mode!r}", code=Code.MODEL_MALFORMED)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    y = node.transpose(node.reshape(x, (n, c, h // b, b, w // b, b)), order)
    return (node.reshape(y, (n, c * b * b, h // b, w // b)),)


OPERATORS = (
    Operator("", "Tile", 6, import_tile),
    Operator("", "Concat", 4, import_concat),
    Operator("", "Split", 2, import_split),
    Operator("", "Slice", 1, import_slice_attributes),
    Operator("", "Slice", 10, import_slice),
    Operator("", "Pad", 2, import_pad_attributes),
    Operator("", "Pad", 11, import_pad),
    Operator("", "Gather", 1, import_gather),
    Operator("", "Compress", 9, import_compress),
    Operator("", "DepthToSpace", 1, import_depth_to_space),
    Operator("", "SpaceToDepth", 1, import_space_to_depth),
)
