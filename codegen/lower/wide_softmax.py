"""Lowering of WideSoftmax: the largest of a row, the sum of exponentials, then each element."""

from collections.abc import Callable

from lepton_cc.codegen.kernel.expr import (
    Const,
    Expr,
    NarrowingCast,
    Var,
    index,
    load,
    maximum,
    minimum,
)
from lepton_cc.codegen.kernel.ir import Block, Let, Store
from lepton_cc.codegen.kernel.math.significant import divided
from lepton_cc.codegen.kernel.schedule import loop, nest
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.wide_functions import (
    EXPONENTIAL_FRACTION,
    RECIPROCAL_BITS,
    WideSoftmax,
)


def lower_wide_softmax(context: KernelContext) -> Block:
    """Lowers WideSoftmax, row by row."""
    kind = context.op.kind
    assert isinstance(kind, WideSoftmax)
    dims = context.source(0).type.dims
    kept = [axis for axis in range(len(dims)) if axis != kind.axis]

    def one(outer: tuple[Expr, ...]) -> Block:
        place = dict(zip(kept, outer, strict=True))

        def at(position: Expr) -> tuple[Expr, ...]:
            full = {**place, kind.axis: position}
            return tuple(full[axis] for axis in range(len(dims)))

        return _row(context, kind, dims[kind.axis], at)

    return nest(context.names, [dims[axis] for axis in kept], one)


def _row(
    context: KernelContext,
    kind: WideSoftmax,
    extent: int,
    at: Callable[[Expr], tuple[Expr, ...]],
) -> Block:
    x, names, zero = context.source(0), context.names, index(0)
    coarse, fine = (context.constant(table.array) for table in (kind.coarse, kind.fine))
    largest = context.registers("largest", DType.I32, 1)
    total = context.registers("total", DType.U64, 1)
    reciprocal = Var(DType.I64, names.fresh("r"))

    def term(position: Expr) -> Expr:
        distance = load(largest, zero) - x.at(at(position)).cast(DType.I32)
        parts = load(coarse, (distance >> 8).cast(INDEX)), load(fine, (distance & 255).cast(INDEX))
        product = parts[0].cast(DType.I64) * parts[1].cast(DType.I64)
        return divided(product, EXPONENTIAL_FRACTION)

    def raise_largest(position: Expr) -> Block:
        value = x.at(at(position)).cast(DType.I32)
        return (Store(largest, zero, maximum(value, load(largest, zero))),)

    def add(position: Expr) -> Block:
        return (Store(total, zero, load(total, zero) + term(position).cast(DType.U64)),)

    def store(position: Expr) -> Block:
        share = divided(term(position) * reciprocal, RECIPROCAL_BITS - EXPONENTIAL_FRACTION)
        y = divided(share * kind.multiplier, kind.shift) + kind.range.zero_point
        bounded = minimum(maximum(y, kind.range.low), kind.range.high).cast(DType.I32)
        value = NarrowingCast(compute_type(kind.range.dtype), bounded)
        return (context.sink.store(at(position), value),)

    quotient = Const(DType.U64, 1 << RECIPROCAL_BITS) // load(total, zero)
    return (
        Store(largest, zero, x.at(at(zero)).cast(DType.I32)),
        *loop(names, "k", 1, extent, raise_largest),
        Store(total, zero, Const(DType.U64, 0)),
        *loop(names, "k", 0, extent, add),
        Let(reciprocal, quotient.cast(DType.I64)),
        *loop(names, "k", 0, extent, store),
    )
