"""Products with constant weights of which many are zero: rows are pixels, all weights a segment."""

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, Var, index
from lepton_cc.codegen.kernel.ir import Block, Let, Stmt
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.dot import usable_dot
from lepton_cc.codegen.lower.source import delinearize
from lepton_cc.codegen.lower.sparse_form import choose_sparse, sparse_candidate, stored_weights
from lepton_cc.codegen.lower.sparse_layer import matmul_layer
from lepton_cc.codegen.lower.sparse_operands import sparse_operands
from lepton_cc.codegen.lower.sparse_product import (
    Line,
    SegmentBody,
    SparseProduct,
    lower_sparse_product,
)
from lepton_cc.codegen.lower.threads import worth_threads
from lepton_cc.ir.ops.matmul import MatMul


def lower_sparse_matmul(context: KernelContext, rows: int, depth: int) -> Block | None:
    """The loops of a product [rows, depth] x [depth, columns]; None if dense ones are better."""
    kind, weights = context.op.kind, sparse_candidate(context)
    assert isinstance(kind, MatMul)
    if weights is None or kind.rhs_zero_point:
        return None
    matrix = np.ascontiguousarray(weights.reshape(depth, -1))
    layer = matmul_layer(matrix, rows, usable_dot(context, depth))
    choice = choose_sparse(context, layer)
    if choice is None:
        return None
    operands = sparse_operands(context, layer, kind.lhs_zero_point)
    sink, columns = context.sink, matrix.shape[1]

    def each_segment(line: Line, row: Expr, whole: bool, body: SegmentBody) -> Block:
        base = Var(INDEX, context.names.fresh("base"))
        return (Let(base, row * depth), *body(index(0), base))

    def store(line: Line, row: Expr, column: Expr, value: Expr) -> Stmt:
        at = (*delinearize(row, sink.type.dims[:-1]), column)
        return sink.store_linear(row * columns + column, at, value)

    num_muladds = rows * int(np.count_nonzero(matrix))
    parallel = worth_threads(context, num_muladds, rows * columns)
    product = SparseProduct(operands, (), rows, (0, 0), each_segment, depth, store, parallel)
    stored = stored_weights(context, layer, choice)
    return lower_sparse_product(context, product, stored, choice.most_pixels)
