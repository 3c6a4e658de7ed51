"""Movement, reductions, softmax and norms as ONNX nodes."""

import numpy as np

from lepton_cc.export.writer import Order, Writer, identity
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.movement import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax

_REDUCTIONS = {
    ReduceFunction.SUM: "ReduceSum",
    ReduceFunction.MEAN: "ReduceMean",
    ReduceFunction.PROD: "ReduceProd",
    ReduceFunction.MAX: "ReduceMax",
    ReduceFunction.MIN: "ReduceMin",
}
_BEFORE_ALL = -(1 << 62)


def write_transpose(writer: Writer, op: Op) -> None:
    """No node: the same tensor with its axes in another order."""
    kind = op.kind
    assert isinstance(kind, Transpose)
    view = writer.view(op.inputs[0])
    order = tuple(kind.permutation.index(axis) for axis in view.order)
    writer.bind(op.result, view.name, order)


def _in_memory_order(writer: Writer, value: Value) -> str:
    """A tensor whose elements follow each other as the value's do."""
    view = writer.view(value)
    moved = [axis for axis in view.order if value.type.dims[axis] != 1]
    return view.name if moved == sorted(moved) else writer.tensor(value)


def write_reshape(writer: Writer, op: Op) -> None:
    """Reshape."""
    x = _in_memory_order(writer, op.inputs[0])
    shape = writer.integers(op.result.type.dims, "shape")
    y = writer.node("Reshape", [x, shape], op.result.name, {"allowzero": 1})
    writer.bind(op.result, y, identity(op.result.type.rank))


def write_broadcast(writer: Writer, op: Op) -> None:
    """Expand."""
    shape = writer.integers(op.result.type.dims, "shape")
    y = writer.node("Expand", [writer.tensor(op.inputs[0]), shape], op.result.name)
    writer.bind(op.result, y, identity(op.result.type.rank))


def write_concat(writer: Writer, op: Op) -> None:
    """Concat, in the order of the first computed operand."""
    kind = op.kind
    assert isinstance(kind, Concat)
    computed = [value for value in op.inputs if not writer.is_constant(value)]
    order = writer.order_of((computed or list(op.inputs))[0])
    names = [writer.tensor(value, order) for value in op.inputs]
    y = writer.node("Concat", names, op.result.name, {"axis": order.index(kind.axis)})
    writer.bind(op.result, y, order)


def write_slice(writer: Writer, op: Op) -> None:
    """Slice along the axes that it cuts."""
    kind = op.kind
    assert isinstance(kind, Slice)
    view = writer.view(op.inputs[0])
    starts, ends, axes, steps = [], [], [], []
    for axis, logical in enumerate(view.order):
        start, size, step = kind.starts[logical], kind.sizes[logical], kind.steps[logical]
        if (start, size, step) == (0, op.inputs[0].type.dims[logical], 1):
            continue
        end = start + size * step
        starts.append(start)
        ends.append(end if end >= 0 else _BEFORE_ALL)
        axes.append(axis)
        steps.append(step)
    stems = zip((starts, ends, axes, steps), ("starts", "ends", "axes", "steps"), strict=True)
    parameters = [writer.integers(numbers, stem) for numbers, stem in stems]
    writer.bind(
        op.result, writer.node("Slice", [view.name, *parameters], op.result.name), view.order
    )


def write_pad(writer: Writer, op: Op) -> None:
    """Pad."""
    kind = op.kind
    assert isinstance(kind, Pad)
    view = writer.view(op.inputs[0])
    amounts = [*(kind.low[axis] for axis in view.order), *(kind.high[axis] for axis in view.order)]
    names = [view.name, writer.integers(amounts, "pads")]
    names += [writer.tensor(value) for value in op.inputs[1:]]
    y = writer.node("Pad", names, op.result.name, {"mode": kind.mode.value})
    writer.bind(op.result, y, view.order)


def write_gather(writer: Writer, op: Op) -> None:
    """Gather."""
    kind = op.kind
    assert isinstance(kind, Gather)
    names = [writer.tensor(value) for value in op.inputs]
    y = writer.node("Gather", names, op.result.name, {"axis": kind.axis})
    writer.bind(op.result, y, identity(op.result.type.rank))


def _without(order: Order, gone: tuple[int, ...]) -> Order:
    left = [axis for axis in order if axis not in gone]
    return tuple(sorted(left).index(axis) for axis in left)


def write_reduce(writer: Writer, op: Op) -> None:
    """ReduceSum, ReduceMean and so on."""
    kind = op.kind
    assert isinstance(kind, Reduce)
    view = writer.view(op.inputs[0])
    axes = writer.integers(sorted(view.order.index(axis) for axis in kind.axes), "axes")
    attributes = {"keepdims": int(kind.keep_dims), "noop_with_empty_axes": 1}
    y = writer.node(_REDUCTIONS[kind.function], [view.name, axes], op.result.name, attributes)
    writer.bind(op.result, y, view.order if kind.keep_dims else _without(view.order, kind.axes))


def write_arg_reduce(writer: Writer, op: Op) -> None:
    """ArgMax and ArgMin."""
    kind = op.kind
    assert isinstance(kind, ArgReduce)
    view = writer.view(op.inputs[0])
    attributes = {
        "axis": view.order.index(kind.axis),
        "keepdims": int(kind.keep_dims),
        "select_last_index": int(kind.select_last),
    }
    op_type = "ArgMax" if kind.function is ArgFunction.ARGMAX else "ArgMin"
    y = writer.node(op_type, [view.name], op.result.name, attributes)
    order = view.order if kind.keep_dims else _without(view.order, (kind.axis,))
    writer.bind(op.result, y, order)


def write_softmax(writer: Writer, op: Op) -> None:
    """Softmax and LogSoftmax."""
    kind = op.kind
    assert isinstance(kind, Softmax)
    view = writer.view(op.inputs[0])
    op_type = "LogSoftmax" if kind.log else "Softmax"
    axis = view.order.index(kind.axis)
    y = writer.node(op_type, [view.name], op.result.name, {"axis": axis})
    writer.bind(op.result, y, view.order)


def write_norm(writer: Writer, op: Op) -> None:
    """LayerNormalization and RMSNormalization."""
    kind = op.kind
    assert isinstance(kind, LayerNorm | RmsNorm)
    x, *parameters = op.operands
    assert x is not None
    names = [writer.tensor(x)]
    if not parameters or parameters[0] is None:
        ones = np.ones(x.type.dims[kind.axis :], x.type.dtype.numpy)
        names.append(writer.initializer(ones, "scale"))
        parameters = parameters[1:]
    names += [writer.tensor(value) for value in parameters if value is not None]
    op_type = "LayerNormalization" if isinstance(kind, LayerNorm) else "RMSNormalization"
    attributes = {"axis": kind.axis, "epsilon": kind.epsilon}
    y = writer.node(op_type, names, op.result.name, attributes)
    writer.bind(op.result, y, identity(op.result.type.rank))


RULES = {
    ArgReduce: write_arg_reduce,
    Broadcast: write_broadcast,
    Concat: write_concat,
    Gather: write_gather,
    LayerNorm: write_norm,
    Pad: write_pad,
    Reduce: write_reduce,
    Reshape: write_reshape,
    RmsNorm: write_norm,
    Slice: write_slice,
    Softmax: write_softmax,
    Transpose: write_transpose,
}
