"""Recognizes a product of one-hot rows: picking rows of a table instead of multiplying by ones."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.elementwise import Cast, Clamp, Select
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Gather, Reshape
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.pattern import arguments, either_order, scalar


@rule("one_hot(i) @ w + b = rows i of (w + b)", MatMul)
def pick_rows(op: Op, rewriter: Rewriter) -> Replacement:
    """An index outside of the table has a row of zeros: one is put after the table's last row.

    Index -1 is that row by `Gather`'s rule, and so is the first one beyond the table.
    """
    lhs, weights, *bias = op.inputs
    table = rewriter.constant_array(weights)
    added = rewriter.constant_array(bias[0]) if bias else None
    if table is None or table.ndim != 2 or not np.isfinite(table).all():
        return None
    if (bias and added is None) or weights.type.quantization is not None:
        return None
    depth = table.shape[0]
    indices = _one_hot_indices(rewriter, lhs, depth)
    if indices is None or not lhs.type.is_static or not indices.type.is_static:
        return None
    rows = np.concatenate([table, np.zeros((1, table.shape[1]), table.dtype)])
    rows = rows if added is None else (rows + added).astype(table.dtype)
    inside = rewriter.emit(Clamp(-1.0, float(depth)), indices)
    flat = rewriter.emit(Reshape(lhs.type.dims[:-1]), inside)
    return (rewriter.emit(Gather(0), rewriter.constant(rows, name=weights.name), flat),)


def _one_hot_indices(rewriter: Rewriter, value: Value, depth: int) -> Value | None:
    """i, of shape [..., 1], if `value` is 1 where i equals the place on the last axis, else 0."""
    compared = _as_number(rewriter, value)
    for indices, places in either_order(arguments(rewriter, compared, BinaryFunction.EQUAL)):
        array = rewriter.constant_array(places)
        if (
            array is not None
            and indices.type.dtype.is_signed_integer
            and indices.type.dtype.bits >= 32
            and indices.type.shape == (*value.type.shape[:-1], 1)
            and _counts_up(array, depth)
        ):
            return indices
    return None


def _as_number(rewriter: Rewriter, value: Value) -> Value | None:
    """c if `value` is c as 1 or 0."""
    cast = rewriter.match(value, Cast)
    if cast is not None:
        return cast[1].inputs[0]
    selected = rewriter.match(value, Select)
    if selected is None:
        return None
    condition, on, off = selected[1].inputs
    numbers = scalar(rewriter, on), scalar(rewriter, off)
    return condition if numbers == (1.0, 0.0) else None


def _counts_up(array: Array, depth: int) -> bool:
    return array.shape[-1:] == (depth,) and bool(np.all(array.reshape(-1) == np.arange(depth)))


@dataclass(frozen=True, slots=True)
class RecognizeOneHot(Pass):
    """Replaces the product of one-hot vectors and a constant table by a gather of its rows.

    The product's ones and zeros are never made; indices outside of the table still give zeros.
    """

    NAME: ClassVar[str] = "recognize-one-hot"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, (pick_rows,), statistics)
