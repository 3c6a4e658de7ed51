"""Lowering of QuantizedNorm: two sums of a row, a root and a reciprocal, then the row again."""

import math

from lepton_cc.codegen.kernel.expr import (
    Const,
    Expr,
    NarrowingCast,
    Var,
    index,
    load,
    maximum,
    minimum,
    select,
)
from lepton_cc.codegen.kernel.ir import Block, Let, Store
from lepton_cc.codegen.kernel.math.significant import divided
from lepton_cc.codegen.kernel.schedule import loop, nest, vectorized
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.reduce import reduce_row
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import Source, delinearize
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.ops.integer_norm import QuantizedNorm

# The root of a number below 2^62 has so many bits.
_ROOT_BITS = 31
# Below this a thread costs more than it gives.
_PARALLEL_ELEMENTS = 16384


def lower_quantized_norm(context: KernelContext) -> Block:
    """Lowers QuantizedNorm, row by row."""
    kind = context.op.kind
    assert isinstance(kind, QuantizedNorm)
    x = context.source(0)
    enough = x.type.num_elements >= _PARALLEL_ELEMENTS
    rows = math.prod(x.type.dims[: kind.axis])
    parallel = context.options.parallelize and enough
    return nest(context.names, [rows], lambda at: _row(context, kind, at[0]), parallel=parallel)


def _row(context: KernelContext, kind: QuantizedNorm, number: Expr) -> Block:
    x, names = context.source(0), context.names
    dims, extent = x.type.dims, math.prod(x.type.dims[kind.axis :])
    base = Var(INDEX, names.fresh("base"))
    low, high = integer_bounds(x.type.dtype)
    largest = max(abs(low - kind.input_zero_point), abs(high - kind.input_zero_point))
    narrow = extent * largest * largest < 1 << 31
    dtype = DType.I32 if narrow else DType.I64

    def element(i: Expr) -> Expr:
        return x.at_linear(base + i).cast(DType.I32) - kind.input_zero_point

    def square(i: Expr) -> Expr:
        return element(i).cast(dtype) * element(i).cast(dtype)

    squares_code, squares = reduce_row(
        context, dtype, extent, 0, lambda a, b: a + b, [], lambda _, i: square(i)
    )
    statements: Block = (Let(base, number * extent), *squares_code)
    total: Expr = Const(DType.I32, 0)
    if kind.centered:
        total_code, total = reduce_row(
            context, DType.I32, extent, 0, lambda a, b: a + b, [], lambda _, i: element(i)
        )
        statements += total_code
    wide = total.cast(DType.I64)
    variance = squares.cast(DType.I64) * extent - wide * wide
    shifted = Var(DType.I64, names.fresh("v"))
    statements += (Let(shifted, (variance << (2 * kind.variance_bits)) + kind.epsilon),)
    root_code, root = _square_root(context, shifted)
    reciprocal = Var(DType.I64, names.fresh("r"))
    ratio = Const(DType.U64, 1 << kind.reciprocal_bits) // root
    statements += (*root_code, Let(reciprocal, ratio.cast(DType.I64)))

    def store(i: Expr) -> Block:
        difference = element(i) * extent - total
        q = divided(difference.cast(DType.I64) * reciprocal, kind.shift)
        y = q * _parameter(context.source(1), i, extent, dims[kind.axis :])
        offsets = context.optional_source(2)
        if offsets is not None:
            y = y + _parameter(offsets, i, extent, dims[kind.axis :])
        number = base + i
        value = _finished(kind, y)
        return (context.sink.store_linear(number, delinearize(number, dims), value),)

    return statements + vectorized(names, extent, context.lanes(DType.I64), store)


def _square_root(context: KernelContext, x: Expr) -> tuple[Block, Expr]:
    """floor(sqrt(x)) of an i64 below 2^62, bit by bit, as u64."""
    root = context.registers("root", DType.U64, 1)
    zero = index(0)

    def decide(number: Expr) -> Block:
        place = Const(DType.U64, 1 << (_ROOT_BITS - 1)) >> number.cast(DType.U64)
        more = load(root, zero) | place
        return (
            Store(root, zero, select(more * more <= x.cast(DType.U64), more, load(root, zero))),
        )

    bits = loop(context.names, "b", 0, _ROOT_BITS, decide)
    found = Var(DType.U64, context.names.fresh("root"))
    return (Store(root, zero, Const(DType.U64, 0)), *bits, Let(found, load(root, zero))), found


def _parameter(source: Source, i: Expr, extent: int, inner: tuple[int, ...]) -> Expr:
    """The i64 that belongs to a row's element i."""
    if source.type.num_elements == extent:
        return source.at_linear(i).cast(DType.I64)
    return source.broadcast_at(delinearize(i, inner)).cast(DType.I64)


def _finished(kind: QuantizedNorm, y: Expr) -> Expr:
    """The result element of the scaled sum y."""
    steps = divided(y, kind.result_bits) + kind.range.zero_point
    bounded = minimum(maximum(steps, kind.range.low), kind.range.high).cast(DType.I32)
    return NarrowingCast(compute_type(kind.range.dtype), bounded)
