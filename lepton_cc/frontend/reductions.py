"""ONNX reductions, ArgMax/ArgMin, and the softmax family."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.reduce import (
    ArgFunction,
    ArgReduce,
    Reduce,
    ReduceFunction,
    Softmax,
)

# The greatest finite element of the types that ONNX ReduceLogSumExp takes.
_LARGEST = {
    DType.F64: float(np.finfo(np.float64).max),
    DType.F32: float(np.finfo(np.float32).max),
    DType.BF16: float.fromhex("0x1.FEp127"),
    DType.F16: 65504.0,
}
# A composed reduction: of node, operand, sorted axes, and whether to keep the axes.
_Composition = Callable[[NodeView, Value, tuple[int, ...], bool], Value]


def _axes(node: NodeView, x: Value, *, as_input: bool) -> tuple[int, ...]:
    if as_input:
        given = () if node.optional(1) is None else node.constant_ints(1)
        if not given and node.flag("noop_with_empty_axes"):
            return ()
    else:
        given = node.ints("axes", ())
    if not given:
        return tuple(range(x.type.rank))
    return tuple(sorted({node.axis(axis, x.type.rank) for axis in given}))


def _reduction(compose: _Composition, *, as_input: bool) -> Importer:
    def import_reduction(node: NodeView) -> Sequence[Value | None]:
        x = node.operand(0)
        axes = _axes(node, x, as_input=as_input)
        return (compose(node, x, axes, node.flag("keepdims", True)),)

    return import_reduction


def _plain(function: ReduceFunction) -> _Composition:
    def compose(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
        return node.emit(Reduce(function, axes, keep), x) if axes else x

    return compose


def _sum(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return _plain(ReduceFunction.SUM)(node, x, axes, keep)


def _l1(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return _sum(node, node.unary(U.ABS, x), axes, keep)


def _sum_square(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    return _sum(node, node.binary(B.MUL, x, x), axes, keep)


def _in_float(node: NodeView, x: Value) -> Value:
    """Integers as binary64, where roots and logarithms are defined; floats as they are."""
    return x if x.type.dtype.is_float else node.cast(x, DType.F64)


def _l2(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    square = _in_float(node, _sum_square(node, x, axes, keep))
    return node.cast(node.unary(U.SQRT, square), x.type.dtype)


def _log_sum(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    total = _in_float(node, _sum(node, x, axes, keep))
    return node.cast(node.unary(U.LOG, total), x.type.dtype)


def _log_sum_exp(node: NodeView, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    """m + log(sum(exp(x - m))), m the greatest element, made finite to avoid inf - inf."""
    wide = _in_float(node, x)
    if not axes:
        return node.cast(wide, x.type.dtype)
    bound = _LARGEST.get(wide.type.dtype, 448.0)
    peak = node.emit(Reduce(ReduceFunction.MAX, axes, True), wide)
    peak = node.emit(Clamp(-bound, bound), peak)
    exponentials = node.unary(U.EXP, node.binary(B.SUB, wide, peak))
    total = node.emit(Reduce(ReduceFunction.SUM, axes, True), exponentials)
    y = node.binary(B.ADD, node.unary(U.LOG, total), peak)
    kept = [d for i, d in enumerate(x.type.dims) if i not in axes]
    y = y if keep else node.reshape(y, kept)
    return node.cast(y, x.type.dtype)


def _arg(function: ArgFunction) -> Importer:
    def import_arg(node: NodeView) -> Sequence[Value | None]:
        x = node.operand(0)
        axis = node.axis(node.int("axis", 0), x.type.rank)
        keep, last = node.flag("keepdims", True), node.flag("select_last_index")
        return (node.emit(ArgReduce(function, axis, keep, last), x),)

    return import_arg


def softmax(node: NodeView, x: Value, axis: int) -> Value:
    """Softmax along an axis."""
    return node.emit(Softmax(axis), x)


def log_softmax(node: NodeView, x: Value, axis: int) -> Value:
    """Logarithm of softmax along an axis."""
    return node.emit(Softmax(axis, log=True), x)


def hardmax(node: NodeView, x: Value, axis: int) -> Value:
    """1 at the first greatest element along an axis, 0 elsewhere."""
    index = node.emit(ArgReduce(ArgFunction.ARGMAX, axis, keep_dims=True), x)
    node.check_table(x.type.dims[axis])
    dims = [1] * x.type.rank
    dims[axis] = x.type.dims[axis]
    positions = node.constant_value(np.arange(dims[axis], dtype=np.int64).reshape(dims))
    return node.cast(node.binary(B.EQUAL, positions, index), x.type.dtype)


_AxisFunction = Callable[[NodeView, Value, int], Value]


def _along_axis(function: _AxisFunction) -> Importer:
    def import_along_axis(node: NodeView) -> Sequence[Value | None]:
        x = node.operand(0)
        return (function(node, x, node.axis(node.int("axis", -1), x.type.rank)),)

    return import_along_axis


def _flattened(function: _AxisFunction) -> Importer:
    def import_flattened(node: NodeView) -> Sequence[Value | None]:
        x = node.operand(0)
        axis = node.axis(node.int("axis", 1), x.type.rank)
        dims = x.type.dims
        flat = node.reshape(x, (math.prod(dims[:axis]), math.prod(dims[axis:])))
        return (node.reshape(function(node, flat, 1), dims),)

    return import_flattened


_REDUCTIONS: dict[str, tuple[_Composition, int]] = {
    "ReduceSum": (_sum, 13),
    "ReduceMean": (_plain(ReduceFunction.MEAN), 18),
    "ReduceProd": (_plain(ReduceFunction.PROD), 18),
    "ReduceMax": (_plain(ReduceFunction.MAX), 18),
    "ReduceMin": (_plain(ReduceFunction.MIN), 18),
    "ReduceL1": (_l1, 18),
    "ReduceL2": (_l2, 18),
    "ReduceLogSum": (_log_sum, 18),
    "ReduceLogSumExp": (_log_sum_exp, 18),
    "ReduceSumSquare": (_sum_square, 18),
}
_SOFTMAXES = {"Softmax": softmax, "LogSoftmax": log_softmax, "Hardmax": hardmax}

OPERATORS = (
    *(
        Operator("", op_type, 1, _reduction(compose, as_input=False))
        for op_type, (compose, _) in _REDUCTIONS.items()
    ),
    *(
        Operator("", op_type, since, _reduction(compose, as_input=True))
        for op_type, (compose, since) in _REDUCTIONS.items()
    ),
    Operator("", "ArgMax", 1, _arg(ArgFunction.ARGMAX)),
    Operator("", "ArgMin", 1, _arg(ArgFunction.ARGMIN)),
    *(Operator("", op_type, 1, _flattened(f)) for op_type, f in _SOFTMAXES.items()),
    *(Operator("", op_type, 13, _along_axis(f)) for op_type, f in _SOFTMAXES.items()),
)
