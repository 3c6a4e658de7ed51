"""ONNX operators that read or change shapes, or make content out of shapes."""

import math
from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.limits import MAX_FOLDED_BYTES, MAX_RANK
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.tensors import element_type
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value


def import_shape(node: NodeView) -> Sequence[Value | None]:
    """Shape, whole or from start to end: a constant."""
    dims = node.operand(0).type.dims
    start, end = node.int("start", 0), node.int("end", len(dims))
    start, end = (min(max(i + len(dims) if i < 0 else i, 0), len(dims)) for i in (start, end))
    return (node.constant_value(np.array(dims[start:end], np.int64)),)


def import_size(node: NodeView) -> Sequence[Value | None]:
    """Size: a constant."""
    return (node.constant_value(np.array(node.operand(0).type.num_elements, np.int64)),)


def import_reshape(node: NodeView) -> Sequence[Value | None]:
    """Reshape with 0, -1 and allowzero; the shape must be known at compile time."""
    x, wish = node.operand(0), node.constant_ints(1)
    dims = x.type.dims
    allow_zero = node.flag("allowzero")
    shape: list[int] = []
    for index, dim in enumerate(wish):
        if dim == 0 and not allow_zero:
            if index >= len(dims):
                node.refuse(f"shape {list(wish)} copies a dimension that {x.type} does not have")
            dim = dims[index]
        shape.append(dim)
    if -1 in shape:
        rest = math.prod(dim for dim in shape if dim != -1)
        if shape.count(-1) > 1 or rest == 0 or x.type.num_elements % rest:
            node.refuse(f"{x.type} cannot be reshaped to {list(wish)}", code=Code.TYPE_MISMATCH)
        shape[shape.index(-1)] = x.type.num_elements // rest
    return (node.reshape(x, shape),)


def import_flatten(node: NodeView) -> Sequence[Value | None]:
    """Flatten to two dimensions."""
    x = node.operand(0)
    rank, axis = x.type.rank, node.int("axis", 1)
    if not -rank <= axis <= rank:
        node.refuse(f"axis {axis} is outside rank {rank}", code=Code.MODEL_MALFORMED)
    axis = axis + rank if axis < 0 else axis
    dims = x.type.dims
    return (node.reshape(x, (math.prod(dims[:axis]), math.prod(dims[axis:]))),)


def _axes(node: NodeView) -> tuple[int, ...] | None:
    """The axes of Squeeze and Unsqueeze: an attribute before opset 13, an input from then on."""
    if node.opset < 13:
        return node.ints("axes") if node.has("axes") else None
    return None if node.optional(1) is None else node.constant_ints(1)


def import_squeeze(node: NodeView) -> Sequence[Value | None]:
    """Squeeze of given axes, or of all that have size 1."""
    x, given = node.operand(0), _axes(node)
    dims = x.type.dims
    if given is None:
        return (node.reshape(x, [dim for dim in dims if dim != 1]),)
    axes = {node.axis(axis, len(dims)) for axis in given}
    if any(dims[axis] != 1 for axis in axes):
        node.refuse(f"axes {sorted(axes)} of {x.type} are not all 1", code=Code.TYPE_MISMATCH)
    return (node.reshape(x, [dim for axis, dim in enumerate(dims) if axis not in axes]),)


def import_unsqueeze(node: NodeView) -> Sequence[Value | None]:
    """Unsqueeze: the axes are those of the result."""
    x, given = node.operand(0), _axes(node) or ()
    rank = x.type.rank + len(given)
    axes = {node.axis(axis, rank) for axis in given}
    if len(axes) != len(given):
        node.refuse(f"axes {list(given)} repeat one", code=Code.MODEL_MALFORMED)
    kept = iter(x.type.dims)
    return (node.reshape(x, [1 if axis in axes else next(kept) for axis in range(rank)]),)


def import_transpose(node: NodeView) -> Sequence[Value | None]:
    """Transpose; without perm the dimensions are reversed."""
    x = node.operand(0)
    return (node.transpose(x, node.ints("perm", range(x.type.rank)[::-1])),)


def _checked_shape(node: NodeView, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) > MAX_RANK or any(dim < 0 for dim in shape):
        node.refuse(f"{list(shape)[:MAX_RANK]} is no shape", code=Code.MODEL_MALFORMED)
    return tuple(shape)


def import_expand(node: NodeView) -> Sequence[Value | None]:
    """Expand: x and the shape broadcast to each other."""
    x, wish = node.operand(0), _checked_shape(node, node.constant_ints(1))
    rank = max(len(wish), x.type.rank)
    dims = (1,) * (rank - x.type.rank) + x.type.dims
    wish = (1,) * (rank - len(wish)) + wish
    shape = [w if d == 1 else d for d, w in zip(dims, wish, strict=True)]
    if any(w not in (1, s) for w, s in zip(wish, shape, strict=True)):
        node.refuse(f"{x.type} does not expand to {list(wish)}", code=Code.TYPE_MISMATCH)
    return (node.broadcast(x, shape),)


def import_constant_of_shape(node: NodeView) -> Sequence[Value | None]:
    """ConstantOfShape: one element, repeated."""
    shape = _checked_shape(node, node.constant_ints(0))
    value = node.tensor("value", np.zeros(1, np.float32))
    if value.size != 1:
        node.refuse(f"value has {value.size} elements", code=Code.MODEL_MALFORMED)
    return (node.broadcast(node.constant_value(value.reshape(())), shape),)


def import_range(node: NodeView) -> Sequence[Value | None]:
    """Range with bounds that are known at compile time; floats are start + i delta."""
    arrays = [node.constant(index) for index in range(3)]
    dtype = arrays[0].dtype
    if any(array.size != 1 or array.dtype != dtype for array in arrays):
        node.refuse("start, limit and delta must be scalars of one type", code=Code.TYPE_MISMATCH)
    start, limit, delta = (array.reshape(()).item() for array in arrays)
    if not all(math.isfinite(bound) for bound in (start, limit, delta)) or delta == 0:
        node.refuse(f"no range from {start} to {limit} by {delta}", code=Code.MODEL_MALFORMED)
    if isinstance(start, int):
        count = max(0, -((start - limit) // delta))
    else:
        count = max(0, math.ceil(min((limit - start) / delta, 1e18)))
    if count * dtype.itemsize > MAX_FOLDED_BYTES:
        node.refuse(f"the range has {count} elements", code=Code.LIMIT_EXCEEDED)
    if isinstance(start, int):
        content = np.array([start + i * delta for i in range(count)], dtype)
    else:
        content = (start + np.arange(count) * delta).astype(dtype)
    return (node.constant_value(content),)


def import_eye_like(node: NodeView) -> Sequence[Value | None]:
    """EyeLike: ones on diagonal k, a constant."""
    x = node.operand(0)
    dtype = element_type(node.int("dtype")) if node.has("dtype") else x.type.dtype
    if x.type.rank != 2:
        node.refuse(f"{x.type} is no matrix", code=Code.TYPE_MISMATCH)
    rows, columns = x.type.dims
    if rows * columns > MAX_FOLDED_BYTES // 8:
        node.refuse(f"an eye of {rows} x {columns}", code=Code.LIMIT_EXCEEDED)
    diagonal = np.arange(columns)[None, :] - np.arange(rows)[:, None] == node.int("k", 0)
    return (node.constant_value(diagonal.astype(dtype.numpy)),)


OPERATORS = (
    Operator("", "Shape", 1, import_shape),
    Operator("", "Size", 1, import_size),
    Operator("", "Reshape", 5, import_reshape),
    Operator("", "Flatten", 1, import_flatten),
    Operator("", "Squeeze", 1, import_squeeze),
    Operator("", "Unsqueeze", 1, import_unsqueeze),
    Operator("", "Transpose", 1, import_transpose),
    Operator("", "Expand", 8, import_expand),
    Operator("", "ConstantOfShape", 9, import_constant_of_shape),
    Operator("", "Range", 11, import_range),
    Operator("", "EyeLike", 9, import_eye_like),
)
