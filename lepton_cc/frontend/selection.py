"""ONNX operators that sort, accumulate or mask along axes: TopK, CumSum, CumProd, Trilu."""

from collections.abc import Callable, Sequence

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.cumulative import Cumulative, CumulativeFunction
from lepton_cc.ir.ops.topk import TopK
from lepton_cc.ir.tensor import Array


def _topk(node: NodeView, k: int) -> Sequence[Value | None]:
    x = node.operand(0)
    axis = node.axis(node.int("axis", -1), x.type.rank)
    return node.emit_many(TopK(k, axis, node.flag("largest", default=True)), x)


def import_topk_1(node: NodeView) -> Sequence[Value | None]:
    """TopK with k as an attribute; equal elements in the order of their indices."""
    return _topk(node, node.int("k"))


def import_topk_10(node: NodeView) -> Sequence[Value | None]:
    """TopK with a k that is known at compile time; the result is always sorted."""
    return _topk(node, node.constant_int(1))


def _cumulative(function: CumulativeFunction) -> Importer:
    def import_cumulative(node: NodeView) -> Sequence[Value | None]:
        """Along an axis that is known at compile time; exclusive and reverse too."""
        x = node.operand(0)
        axis = node.axis(node.constant_int(1), x.type.rank)
        kind = Cumulative(function, axis, node.flag("exclusive"), node.flag("reverse"))
        return (node.emit(kind, x),)

    return import_cumulative


def import_trilu(node: NodeView) -> Sequence[Value | None]:
    """Trilu with a diagonal that is known at compile time."""
    x = node.operand(0)
    if x.type.rank < 2:
        node.refuse(f"input {x.type} is no matrix", code=Code.MODEL_MALFORMED)
    diagonal = 0 if node.optional(1) is None else node.constant_int(1)
    node.check_table(*x.type.dims[-2:])
    rows, columns = np.indices(x.type.dims[-2:])
    upper = node.flag("upper", default=True)
    kept = columns - rows >= diagonal if upper else columns - rows <= diagonal
    return (node.select(node.constant_value(kept), x, node.scalar(0, x.type.dtype)),)


def _computed_of_constant(function: Callable[[Array], Array]) -> Importer:
    def import_known(node: NodeView) -> Sequence[Value | None]:
        """Only of a tensor known at compile time: its content decides the output's shape."""
        return (node.constant_value(function(node.constant(0))),)

    return import_known


def _nonzero(x: Array) -> Array:
    if x.ndim == 0:
        return np.zeros((0, int(x != 0)), np.int64)
    return np.asarray(np.nonzero(x), np.int64)


def import_unique(node: NodeView) -> Sequence[Value | None]:
    """Unique of a tensor that is known at compile time: its content decides the output's shape."""
    x = node.constant(0)
    axis = node.axis(node.int("axis"), x.ndim) if node.has("axis") else None
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    if not node.flag("sorted", default=True):
        order = np.argsort(first)
        rank = np.argsort(order)
        values = np.take(values, order, axis=axis or 0)
        first, counts, inverse = first[order], counts[order], rank[inverse.reshape(-1)]
    tables = (first, inverse.reshape(-1), counts)
    return (
        node.constant_value(values),
        *(node.constant_value(table.astype(np.int64)) for table in tables),
    )


OPERATORS = (
    Operator("", "TopK", 1, import_topk_1),
    Operator("", "TopK", 10, import_topk_10),
    Operator("", "CumSum", 11, _cumulative(CumulativeFunction.SUM)),
    Operator("", "CumProd", 26, _cumulative(CumulativeFunction.PROD)),
    Operator("", "Trilu", 14, import_trilu),
    Operator("", "NonZero", 9, _computed_of_constant(_nonzero)),
    Operator("", "Unique", 11, import_unique),
)
