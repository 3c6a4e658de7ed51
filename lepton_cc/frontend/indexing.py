"""ONNX operators that read or write at computed indices, as gathers and scatters of whole rows.

An index tuple becomes one linear index into the tensor seen as [rows, row elements]; so one gather
and one scatter op serve them all, and constant indices fold into a constant table.
"""

import math
from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.limits import MAX_TABLE_ELEMENTS
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Gather, Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.scatter import Scatter, ScatterFunction
from lepton_cc.ir.tensor import Array

_REDUCTIONS = {
    "none": ScatterFunction.ASSIGN,
    "add": ScatterFunction.ADD,
    "mul": ScatterFunction.MUL,
    "min": ScatterFunction.MIN,
    "max": ScatterFunction.MAX,
}


def index_dtype(num_rows: int) -> DType:
    """The type to compute linear indices below `num_rows` in."""
    return DType.I32 if num_rows < 2**31 else DType.I64


def strides(dims: Sequence[int]) -> tuple[int, ...]:
    """Elements between neighbours, per dimension of a dense tensor."""
    return tuple(math.prod(dims[axis + 1 :]) for axis in range(len(dims)))


def grid_offsets(shape: Sequence[int], steps: Sequence[int]) -> Array:
    """sum over axes of i[axis] * steps[axis]; axes of step 0 have size 1 in the result."""
    offsets = np.zeros((), np.int64)
    for axis, (dim, step) in enumerate(zip(shape, steps, strict=True)):
        line = np.arange(dim if step else 1, dtype=np.int64) * step
        offsets = offsets + line.reshape(-1, *[1] * (len(shape) - axis - 1))
    return offsets.reshape([dim if step else 1 for dim, step in zip(shape, steps, strict=True)])


def wrapped(node: NodeView, indices: Value, dims: Array) -> Value:
    """Indices with the negative ones counted from the end of `dims` (which broadcasts)."""
    content = node.content(indices)
    if content is not None and np.all(content >= np.zeros((), content.dtype)):
        return indices
    size = node.constant_value(dims.astype(indices.type.dtype.numpy))
    negative = node.binary(BinaryFunction.LESS, indices, 0)
    return node.select(negative, node.binary(BinaryFunction.ADD, indices, size), indices)


def _element_rows(node: NodeView, x: Value, indices: Value, axis: int) -> Value:
    """Linear indices of x[i0, ..., indices[i], ...], in the indices' shape."""
    dims, shape = x.type.dims, indices.type.dims
    if len(dims) != len(shape) or any(
        given > dim for i, (given, dim) in enumerate(zip(shape, dims, strict=True)) if i != axis
    ):
        node.refuse(f"indices {indices.type} do not fit {x.type}", code=Code.MODEL_MALFORMED)
    steps = strides(dims)
    kind = index_dtype(math.prod(dims))
    rows = wrapped(node, node.cast(indices, kind), np.asarray(dims[axis]))
    rows = node.binary(BinaryFunction.MUL, rows, steps[axis])
    offsets = grid_offsets(shape, [0 if i == axis else step for i, step in enumerate(steps)])
    base = node.constant_value(offsets.astype(kind.numpy))
    return node.folded(node.binary(BinaryFunction.ADD, rows, base))


def import_gather_elements(node: NodeView) -> Sequence[Value | None]:
    """GatherElements; indices outside the axis are clamped into the tensor."""
    x, indices = node.operand(0), node.operand(1)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    rows = _element_rows(node, x, indices, axis)
    return (node.emit(Gather(0), node.reshape(x, (x.type.num_elements,)), rows),)


def _tuple_rows(
    node: NodeView, x: Value, indices: Value, batch_dims: int
) -> tuple[Value, tuple[int, ...]]:
    """Linear indices of the rows that index tuples [..., k] address, and a row's shape."""
    dims, shape = x.type.dims, indices.type.dims
    if not 0 <= batch_dims < max(1, len(shape)):
        node.refuse(f"batch_dims is {batch_dims}", code=Code.MODEL_MALFORMED)
    if not shape or batch_dims + shape[-1] > len(dims) or dims[:batch_dims] != shape[:batch_dims]:
        node.refuse(f"indices {indices.type} do not fit {x.type}", code=Code.MODEL_MALFORMED)
    end = batch_dims + shape[-1]
    steps = strides(dims[:end])
    kind = index_dtype(math.prod(dims[:end]))
    tuples = wrapped(node, node.cast(indices, kind), np.asarray(dims[batch_dims:end]))
    weights = node.constant_value(np.asarray(steps[batch_dims:], kind.numpy))
    products = node.binary(BinaryFunction.MUL, tuples, weights)
    last = indices.type.rank - 1
    rows = node.emit(Reduce(ReduceFunction.SUM, (last,), keep_dims=False), products)
    if batch_dims:
        batch = (*steps[:batch_dims], *[0] * (last - batch_dims))
        base = grid_offsets(shape[:-1], batch)
        rows = node.binary(BinaryFunction.ADD, rows, node.constant_value(base.astype(kind.numpy)))
    return node.folded(rows), dims[end:]


def import_gather_nd(node: NodeView) -> Sequence[Value | None]:
    """GatherND; indices outside are clamped into the tensor."""
    x, indices = node.operand(0), node.operand(1)
    rows, row = _tuple_rows(node, x, indices, node.int("batch_dims", 0))
    count = x.type.num_elements // max(1, math.prod(row))
    return (node.emit(Gather(0), node.reshape(x, (count, *row)), rows),)


def _reduction(node: NodeView) -> ScatterFunction:
    name = node.string("reduction", "none")
    if name not in _REDUCTIONS:
        node.refuse(f"reduction {name!r} is unknown", code=Code.MODEL_MALFORMED)
    return _REDUCTIONS[name]


def scatter_rows(
    node: NodeView, x: Value, rows: Value, updates: Value, function: ScatterFunction
) -> Value:
    """Scatters updates [*rows, *row] into x seen as [-1, *row], and gives x's shape back."""
    row = updates.type.dims[rows.type.rank :]
    count = x.type.num_elements // max(1, math.prod(row))
    flat = node.emit(
        Scatter(function),
        node.reshape(x, (count, *row)),
        node.reshape(rows, (rows.type.num_elements,)),
        node.reshape(updates, (rows.type.num_elements, *row)),
    )
    return node.reshape(flat, x.type.dims)


def import_scatter_elements(node: NodeView) -> Sequence[Value | None]:
    """ScatterElements and Scatter, all reductions; indices outside the tensor write nothing."""
    x, indices, updates = (node.operand(index) for index in range(3))
    axis = node.axis(node.int("axis", 0), x.type.rank)
    rows = _element_rows(node, x, indices, axis)
    return (scatter_rows(node, x, rows, updates, _reduction(node)),)


def import_scatter_nd(node: NodeView) -> Sequence[Value | None]:
    """ScatterND, all reductions; indices outside the tensor write nothing."""
    x, indices, updates = (node.operand(index) for index in range(3))
    rows, _ = _tuple_rows(node, x, indices, 0)
    return (scatter_rows(node, x, rows, updates, _reduction(node)),)


def import_tensor_scatter(node: NodeView) -> Sequence[Value | None]:
    """TensorScatter, linear and circular, on any axis but the first."""
    cache, update, start = node.operand(0), node.operand(1), node.optional(2)
    dims = cache.type.dims
    node.check_rank(update, len(dims), len(dims))
    node.check_table(*update.type.dims)
    axis = node.axis(node.int("axis", -2), len(dims))
    if axis == 0 or dims[axis] == 0:
        node.refuse(f"axis {axis} of {cache.type} is none to write", code=Code.MODEL_MALFORMED)
    kind = index_dtype(math.prod(dims[: axis + 1]))
    shape = update.type.dims[: axis + 1]
    position = node.constant_value(np.arange(shape[axis], dtype=kind.numpy))
    if start is not None:
        first = node.reshape(node.cast(start, kind), (dims[0], *[1] * axis))
        position = node.binary(BinaryFunction.ADD, first, position)
    if node.string("mode", "linear") == "circular":
        position = node.binary(BinaryFunction.MOD, position, dims[axis])
    steps = (*(step for step in strides(dims[: axis + 1])[:-1]), 0)
    base = node.constant_value(grid_offsets(shape, steps).astype(kind.numpy))
    rows = node.folded(node.binary(BinaryFunction.ADD, position, base))
    return (scatter_rows(node, cache, rows, update, ScatterFunction.ASSIGN),)


def import_one_hot(node: NodeView) -> Sequence[Value | None]:
    """OneHot with a depth that is known at compile time."""
    indices, values = node.operand(0), node.operand(2)
    depth_given = node.constant_float(1)
    if not 0 <= depth_given < MAX_TABLE_ELEMENTS:
        node.refuse(f"the depth is {depth_given}", code=Code.MODEL_MALFORMED)
    depth = int(depth_given)
    node.check_rank(values, 1, 1)
    rank = indices.type.rank
    axis = node.axis(node.int("axis", -1), rank + 1)
    whole = node.cast(indices, DType.I64)
    whole = wrapped(node, whole, np.asarray(depth))
    dims = indices.type.dims
    column = node.reshape(whole, (*dims[:axis], 1, *dims[axis:]))
    classes = np.arange(depth, dtype=np.int64).reshape(-1, *[1] * (rank - axis))
    hot = node.binary(BinaryFunction.EQUAL, column, node.constant_value(classes))
    off, on = (node.reshape(node.emit(Slice((index,), (1,), (1,)), values), ()) for index in (0, 1))
    return (node.select(hot, on, off),)


def import_reverse_sequence(node: NodeView) -> Sequence[Value | None]:
    """ReverseSequence; batch and time are the first two axes, in either order."""
    x, lengths = node.operand(0), node.operand(1)
    batch_axis, time_axis = node.int("batch_axis", 1), node.int("time_axis", 0)
    if {batch_axis, time_axis} != {0, 1}:
        node.refuse(f"axes {batch_axis} and {time_axis} are not 0 and 1", code=Code.MODEL_MALFORMED)
    order = (batch_axis, time_axis, *range(2, x.type.rank))
    batch_first = node.transpose(x, order)
    batch, steps, *row = batch_first.type.dims
    kind = index_dtype(batch * steps)
    time = node.constant_value(np.arange(steps, dtype=kind.numpy))
    length = node.reshape(node.cast(lengths, kind), (batch, 1))
    mirrored = node.binary(BinaryFunction.SUB, node.binary(BinaryFunction.SUB, length, time), 1)
    source = node.select(node.binary(BinaryFunction.LESS, time, length), mirrored, time)
    base = node.constant_value((np.arange(batch) * steps).reshape(batch, 1).astype(kind.numpy))
    rows = node.folded(node.binary(BinaryFunction.ADD, source, base))
    y = node.emit(Gather(0), node.reshape(batch_first, (batch * steps, *row)), rows)
    return (node.transpose(y, order),)


OPERATORS = (
    Operator("", "GatherElements", 11, import_gather_elements),
    Operator("", "GatherND", 11, import_gather_nd),
    Operator("", "Scatter", 9, import_scatter_elements),
    Operator("", "ScatterElements", 11, import_scatter_elements),
    Operator("", "ScatterND", 11, import_scatter_nd),
    Operator("", "TensorScatter", 24, import_tensor_scatter),
    Operator("", "OneHot", 9, import_one_hot),
    Operator("", "ReverseSequence", 10, import_reverse_sequence),
)
