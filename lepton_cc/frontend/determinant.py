"""ONNX Det: the determinant of small matrices, by cofactors."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction

_LARGEST = 4


def import_det(node: NodeView) -> Sequence[Value | None]:
    """Det of matrices up to 4 x 4, batched."""
    x = node.operand(0)
    if x.type.rank < 2 or x.type.dims[-1] != x.type.dims[-2]:
        node.refuse(f"{x.type} is no square matrix", code=Code.MODEL_MALFORMED)
    size = x.type.dims[-1]
    if not 0 < size <= _LARGEST:
        node.refuse(f"matrices of size {size}; at most {_LARGEST} is supported")
    columns = tuple(range(size))
    return (_minor(node, x, 0, columns),)


def _element(node: NodeView, x: Value, row: int, column: int) -> Value:
    """x[..., row, column]."""
    batch = x.type.dims[:-2]
    rank = x.type.rank
    part = Slice((*[0] * len(batch), row, column), (*batch, 1, 1), (1,) * rank)
    return node.reshape(node.emit(part, x), batch)


def _minor(node: NodeView, x: Value, row: int, columns: tuple[int, ...]) -> Value:
    """The determinant of the rows from `row` on and the given columns."""
    if len(columns) == 1:
        return _element(node, x, row, columns[0])
    total: Value | None = None
    for position, column in enumerate(columns):
        rest = columns[:position] + columns[position + 1 :]
        lower = _minor(node, x, row + 1, rest)
        term = node.binary(BinaryFunction.MUL, _element(node, x, row, column), lower)
        sign = BinaryFunction.SUB if position % 2 else BinaryFunction.ADD
        total = term if total is None else node.binary(sign, total, term)
    assert total is not None
    return total


OPERATORS = (Operator("", "Det", 11, import_det),)
