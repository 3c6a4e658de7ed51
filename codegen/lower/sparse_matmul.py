"""Products with constant weights of which most are zero: only blocks with weights are multiplied.

`sparse_form` is the cost model: it compares the estimated time and the bytes of every block shape
with those of the dense product, and prefers dense code unless lists save time and bytes.
"""

import numpy as np

from lepton_cc.codegen.kernel.ir import (
    INDEX,
    Block,
    Const,
    Expr,
    Let,
    Store,
    Var,
    load,
    mul_add,
)
from lepton_cc.codegen.kernel.schedule import loop, nest
from lepton_cc.codegen.kernel.tile import Tile
from lepton_cc.codegen.lower.block_sparse import BlockForm, BlockWeights, block_form, block_weights
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.contraction import (
    Accumulators,
    accumulators,
    each_vector,
    initialize,
)
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import delinearize
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array

# Smaller matrices are not worth a kernel of their own.
_FEWEST_WEIGHTS = 256
# Lists must promise this much of the dense time at most.
_WORTH = 0.8
# Vector code multiplies more rows at a time by weights that are in registers.
_MOST_ROWS = 4
_STORED = (DType.F32, DType.I8)


def sparse_form(weights: Array, target: Target, lanes: int, rows: int = 1) -> BlockForm | None:
    """The blocks in which a constant matrix [depth, width] is faster than dense; None if in none.

    lanes: elements of a vector of accumulators; rows: those of the other side. On targets
    with dot products a dense multiply-add of bytes takes a part of a lane's time.
    """
    depth, width = weights.shape
    dtype = DType.from_numpy(weights.dtype)
    too_many_rows = lanes > 1 and rows > _MOST_ROWS
    if dtype not in _STORED or weights.size < _FEWEST_WEIGHTS or too_many_rows:
        return None
    a_lane = target.dot_product.width if dtype is DType.I8 and lanes > 1 else 1
    dense_cycles = weights.size / lanes / a_lane * 2.0
    candidates = [
        block_form(weights, rows, columns)
        for rows in (1, 4)
        for columns in (1, 4, 8, 16)
        if depth % rows == 0 and width % columns == 0 and columns % min(lanes, 16) == 0
    ]
    worth = [
        form
        for form in candidates
        if form.cycles(lanes) <= _WORTH * dense_cycles
        and form.size_bytes(1 if depth // form.rows <= 256 else 2, dtype.size_bytes)
        < weights.nbytes
    ]
    return min(worth, key=lambda form: (form.cycles(lanes), form.rows * form.columns), default=None)


def lower_sparse_matmul(context: KernelContext, rows: int, depth: int) -> Block | None:
    """The loops of a product [rows, depth] x [depth, columns]; None if dense ones are better."""
    kind, weights = context.op.kind, context.constant_array(1)
    assert isinstance(kind, MatMul)
    bias = context.constant_array(2)
    known = context.optional_source(2) is None or bias is not None
    if weights is None or not known or kind.rhs_zero_point or not context.options.tile:
        return None
    if weights.size == 0:
        return None
    matrix = np.ascontiguousarray(weights.reshape(depth, -1))
    dtype = compute_type(context.op.result.type.dtype)
    lanes = context.lanes(dtype)
    form = sparse_form(matrix, context.target, lanes, rows)
    if form is None:
        return None
    lists = block_weights(context, matrix, form)
    tile = Tile(1, form.columns // min(lanes, form.columns), min(lanes, form.columns))
    initial = None if bias is None else context.constant(bias.reshape(-1))

    def band(row: Expr, number: Expr) -> Block:
        registers = accumulators(context, tile, dtype)
        first = number * form.columns

        def start(column: Expr) -> Expr:
            return Const(dtype, 0) if initial is None else load(initial, first + column)

        def store(column: Expr) -> Block:
            sink, at = context.sink, first + column
            place = (*delinearize(row, sink.type.dims[:-1]), at)
            value = load(registers.buffer, registers.at(0, column))
            return (sink.store_linear(row * matrix.shape[1] + at, place, value),)

        def entry(which: Expr) -> Block:
            return _entry(context, kind, lists, (row * depth, which), registers)

        begin, end = lists.begin(number), lists.begin(number + 1)
        return (
            *initialize(context, registers, start, form.columns),
            *loop(context.names, "e", begin, end, entry),
            *each_vector(context, tile, store, form.columns),
        )

    return nest(context.names, (rows, form.num_bands), lambda at: band(*at))


def _entry(
    context: KernelContext,
    kind: MatMul,
    lists: BlockWeights,
    at: tuple[Expr, Expr],
    registers: Accumulators,
) -> Block:
    """Adds one block: its inputs, each times its row of weights."""
    line, which = at
    dtype = registers.buffer.dtype
    first = Var(INDEX, context.names.fresh("first"))
    statements: Block = (Let(first, line + lists.row(which)),)
    for row in range(lists.form.rows):
        value = context.source(0).at_linear(first + row).cast(dtype)
        x = Var(dtype, context.names.fresh("x"))
        centered = value - kind.lhs_zero_point if kind.lhs_zero_point else value
        statements += (Let(x, centered),)

        def add(column: Expr, row: int = row, x: Var = x) -> Block:
            place = registers.at(0, column)
            weight = lists.at(which, row, column).cast(dtype)
            total = mul_add(x, weight, load(registers.buffer, place))
            return (Store(registers.buffer, place, total),)

        statements += each_vector(context, registers.tile, add, lists.form.columns)
    return statements
