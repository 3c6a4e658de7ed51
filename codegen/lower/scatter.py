"""Lowering of scatter: a copy, and then one row after the other, in the order of the indices."""

import math

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Expr, Var, load
from lepton_cc.codegen.kernel.ir import Block, If, Let
from lepton_cc.codegen.kernel.schedule import loop, vectorized
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type, from_storage, rounded
from lepton_cc.codegen.lower.source import delinearize
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.scatter import Scatter, ScatterFunction

_COMBINE = {
    ScatterFunction.ADD: BinaryFunction.ADD,
    ScatterFunction.MUL: BinaryFunction.MUL,
    ScatterFunction.MIN: BinaryFunction.MIN,
    ScatterFunction.MAX: BinaryFunction.MAX,
}


def lower_scatter(context: KernelContext) -> Block:
    """Lowers Scatter; an index outside the result writes nothing."""
    kind = context.op.kind
    assert isinstance(kind, Scatter)
    x, indices, updates = (context.source(number) for number in range(3))
    sink, names = context.sink, context.names
    rows, *row_dims = x.type.dims
    row = math.prod(row_dims)
    dtype = x.type.dtype
    lanes = context.lanes(compute_type(dtype))

    def store(number: Expr, value: Expr) -> Block:
        return (sink.store_linear(number, delinearize(number, x.type.dims), value),)

    copy = vectorized(names, x.type.num_elements, lanes, lambda i: store(i, x.at_linear(i)))

    def write(number: Expr) -> Block:
        place = Var(INDEX, names.fresh("row"))

        def element(i: Expr) -> Block:
            target = place * row + i
            value = updates.at_linear(number * row + i)
            if kind.function is not ScatterFunction.ASSIGN:
                before = from_storage(load(sink.buffer(), target), dtype)
                value = rounded(kernel_math.binary(_COMBINE[kind.function], before, value), dtype)
            return store(target, value)

        inside = (place >= 0) & (place < rows)
        return (
            Let(place, indices.at_linear(number).cast(INDEX)),
            If(inside, vectorized(names, row, lanes, element)),
        )

    return copy + loop(names, "n", 0, indices.type.num_elements, write)
