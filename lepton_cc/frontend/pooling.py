"""ONNX pools: windows over channels-last activations; global pools are reductions."""

import math
from collections.abc import Sequence

from lepton_cc.frontend.convolution import to_channels_first, to_channels_last
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.pool_indices import max_pool_indices
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.frontend.windows import spatial_dims, window_of
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.window import Window


def _window(node: NodeView, x: Value) -> tuple[Window, tuple[int, ...]]:
    dims, size = spatial_dims(node, x), node.ints("kernel_shape")
    if len(size) != len(dims):
        node.refuse(f"kernel_shape {list(size)} for {x.type}", code=Code.MODEL_MALFORMED)
    return window_of(node, dims, size, ceil=node.flag("ceil_mode"))


def import_max_pool(node: NodeView) -> Sequence[Value | None]:
    """MaxPool of any rank, dilated, with every auto_pad and ceil_mode, with its Indices."""
    x = node.operand(0)
    window, _ = _window(node, x)
    y = to_channels_first(node, node.emit(MaxPool(window), to_channels_last(node, x)))
    if not node.output_used(1):
        return (y, None)
    column_major = node.flag("storage_order")
    return (y, max_pool_indices(node, x, window, column_major=column_major))


def import_average_pool(node: NodeView) -> Sequence[Value | None]:
    """AveragePool of any rank, dilated, with every auto_pad and ceil_mode."""
    x = node.operand(0)
    window, extra = _window(node, x)
    uncounted = extra if any(extra) else ()
    kind = AveragePool(window, node.flag("count_include_pad"), uncounted)
    return (to_channels_first(node, node.emit(kind, to_channels_last(node, x))),)


def _power(node: NodeView, x: Value, p: float) -> Value:
    magnitude = node.unary(U.ABS, x)
    if p == 1:
        return magnitude
    return node.binary(B.MUL, x, x) if p == 2 else node.binary(B.POW, magnitude, p)


def _root(node: NodeView, x: Value, p: float) -> Value:
    if p == 1:
        return x
    return node.unary(U.SQRT, x) if p == 2 else node.binary(B.POW, x, 1 / p)


def import_lp_pool(node: NodeView) -> Sequence[Value | None]:
    """LpPool of any rank: the p-th root of the window's sum of |x|^p."""
    x, p = node.operand(0), node.int("p", 2)
    if p < 1:
        node.refuse(f"p is {p}", code=Code.MODEL_MALFORMED)
    window, _ = _window(node, x)
    powers = _power(node, to_channels_last(node, x), p)
    mean = node.emit(AveragePool(window, count_padding=True), powers)
    total = node.binary(B.MUL, mean, math.prod(window.size))
    return (to_channels_first(node, _root(node, total, p)),)


def _global(function: ReduceFunction) -> Importer:
    def import_global_pool(node: NodeView) -> Sequence[Value | None]:
        x = node.operand(0)
        spatial_dims(node, x)
        return (node.emit(Reduce(function, tuple(range(2, x.type.rank))), x),)

    return import_global_pool


def import_global_lp_pool(node: NodeView) -> Sequence[Value | None]:
    """GlobalLpPool: the p-th root of the sum of |x|^p."""
    x, p = node.operand(0), node.int("p", 2)
    if p < 1:
        node.refuse(f"p is {p}", code=Code.MODEL_MALFORMED)
    spatial_dims(node, x)
    axes = tuple(range(2, x.type.rank))
    total = node.emit(Reduce(ReduceFunction.SUM, axes), _power(node, x, p))
    return (_root(node, total, p),)


OPERATORS = (
    Operator("", "MaxPool", 1, import_max_pool),
    Operator("", "AveragePool", 7, import_average_pool),
    Operator("", "LpPool", 2, import_lp_pool),
    Operator("", "GlobalAveragePool", 1, _global(ReduceFunction.MEAN)),
    Operator("", "GlobalMaxPool", 1, _global(ReduceFunction.MAX)),
    Operator("", "GlobalLpPool", 2, import_global_lp_pool),
)
