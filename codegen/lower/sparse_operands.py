"""How contractions with sparsely stored weights read inputs and start their sums."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, load, mul_add
from lepton_cc.codegen.kernel.integer_expr import LoadWord
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.contraction import Combine
from lepton_cc.codegen.lower.dot import dot_step, folded_bias
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct


@dataclass(frozen=True, slots=True)
class SparseOperands:
    """Sums of a type: what an input from an element number on is, and how it is added.

    bias(column): what sums start from, zero without. zero_point: what is still to be taken off
    every input, because pixels that miss some taps have it less often; else it is in the bias.
    row_stride: elements between the inputs of neighbouring rows of weights.
    """

    dtype: DType
    read: Callable[[Expr], Expr]
    combine: Combine
    bias: Callable[[Expr], Expr] | None
    zero_point: int
    row_stride: int


def sparse_operands(context: KernelContext, layer: SparseLayer, zero_point: int) -> SparseOperands:
    """The operands of the context's contraction, of which `layer` has the weights."""
    content, bias = context.constant_array(1), context.constant_array(2)
    assert content is not None
    dtype, dot = compute_type(context.op.result.type.dtype), layer.dot
    if not layer.is_padded and dtype is DType.I32:
        matrix = content.reshape(-1, content.shape[-1])
        bias, zero_point = folded_bias(matrix, bias, zero_point), 0
    start: Callable[[Expr], Expr] | None = None
    if bias is not None:
        buffer = context.constant(np.broadcast_to(bias.reshape(-1), content.shape[-1:]).copy())
        start = lambda column: load(buffer, column).cast(dtype)  # noqa: E731
    if dot is not DotProduct.NONE:
        x = context.direct_buffer(0)
        words: Callable[[Expr], Expr] = lambda number: LoadWord(DType.I32, x, number)  # noqa: E731
        return SparseOperands(dtype, words, dot_step(dot), start, zero_point, dot.width)
    source = context.source(0)
    return SparseOperands(
        dtype, lambda number: source.at_linear(number).cast(dtype), mul_add, start, zero_point, 1
    )
