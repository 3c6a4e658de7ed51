"""Lowering of reductions, argmin/argmax and softmax."""

import math
from collections.abc import Callable

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Const, Expr, Var, index, load, select
from lepton_cc.codegen.kernel.ir import Block, Let, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, nest, vectorized
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import Source
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax

Combine = Callable[[Expr, Expr], Expr]


def _maximum(total: Expr, value: Expr) -> Expr:
    return kernel_math.binary(BinaryFunction.MAX, total, value)


def _minimum(total: Expr, value: Expr) -> Expr:
    return kernel_math.binary(BinaryFunction.MIN, total, value)


def combiner(function: ReduceFunction, dtype: DType) -> Combine:
    """How two partial results combine."""
    if function in (ReduceFunction.SUM, ReduceFunction.MEAN):
        return lambda total, value: total + value
    if function is ReduceFunction.PROD:
        return lambda total, value: total * value
    if dtype is DType.BOOL:
        if function is ReduceFunction.MAX:
            return lambda total, value: total | value
        return lambda total, value: total & value
    return _maximum if function is ReduceFunction.MAX else _minimum


def lower_reduce(context: KernelContext) -> Block:
    """Lowers Reduce: lanes along the last dimension, kept or reduced.

    A kept last dimension gives each lane its own result; a reduced one gives each lane a partial
    result, combined in lane order at the end.
    """
    kind = context.op.kind
    assert isinstance(kind, Reduce)
    x = context.source(0)
    axes = set(kind.axes)
    if x.type.rank and x.type.rank - 1 not in axes:
        return _reduce_outer(context, kind, x)
    return _reduce_inner(context, kind, x)


def _finished(kind: Reduce, total: Expr, count: int) -> Expr:
    if kind.function is not ReduceFunction.MEAN:
        return total
    if total.type in (DType.F32, DType.F64):
        return total / Const(total.type, float(count))
    return total / Const(total.type, max(count, 1))


def _places(kind: Reduce, rank: int) -> tuple[list[int], list[int]]:
    reduced = list(kind.axes)
    return [axis for axis in range(rank) if axis not in kind.axes], reduced


def _result_at(kind: Reduce, kept: list[int], at: dict[int, Expr], rank: int) -> tuple[Expr, ...]:
    if kind.keep_dims:
        return tuple(index(0) if axis in kind.axes else at[axis] for axis in range(rank))
    return tuple(at[axis] for axis in kept)


def _reduce_outer(context: KernelContext, kind: Reduce, x: Source) -> Block:
    """The last dimension is kept: vectors of results."""
    dims, rank = x.type.dims, x.type.rank
    kept, reduced = _places(kind, rank)
    dtype = compute_type(x.type.dtype)
    combine = combiner(kind.function, dtype)
    count = math.prod(dims[axis] for axis in reduced)
    lanes = context.lanes(dtype)
    start = Const(dtype, kind.identity(x.type.dtype))

    def row(outer: tuple[Expr, ...]) -> Block:
        def columns(last: Expr, width: int) -> Block:
            total = context.registers("total", dtype, width)

            def add(inner: tuple[Expr, ...]) -> Block:
                at = dict(zip(kept[:-1], outer, strict=True)) | dict(
                    zip(reduced, inner, strict=True)
                )

                def lane_body(lane: Expr) -> Block:
                    place = {**at, rank - 1: last + lane}
                    value = x.at(tuple(place[axis] for axis in range(rank)))
                    return (Store(total, lane, combine(load(total, lane), value)),)

                return lanes_of(context.names, index(0), width, lane_body)

            def finish(lane: Expr) -> Block:
                at = {**dict(zip(kept[:-1], outer, strict=True)), rank - 1: last + lane}
                value = _finished(kind, load(total, lane), count)
                return (context.sink.store(_result_at(kind, kept, at, rank), value),)

            clear = lanes_of(
                context.names, index(0), width, lambda lane: (Store(total, lane, start),)
            )
            summed = nest(context.names, [dims[axis] for axis in reduced], add)
            return clear + summed + lanes_of(context.names, index(0), width, finish)

        whole, rest = divmod(dims[-1], lanes)
        blocks = loop(context.names, "b", 0, whole, lambda b: columns(b * lanes, lanes))
        return blocks + (columns(index(whole * lanes), rest) if rest else ())

    return nest(context.names, [dims[axis] for axis in kept[:-1]], row)


def _reduce_inner(context: KernelContext, kind: Reduce, x: Source) -> Block:
    """The last dimension is reduced (or there is none): lanes hold partial results."""
    dims, rank = x.type.dims, x.type.rank
    kept, reduced = _places(kind, rank)
    dtype = compute_type(x.type.dtype)
    combine = combiner(kind.function, dtype)
    count = math.prod(dims[axis] for axis in reduced)
    identity = kind.identity(x.type.dtype)

    def one(outer: tuple[Expr, ...]) -> Block:
        at = dict(zip(kept, outer, strict=True))

        def value(inner: tuple[Expr, ...], last: Expr | None) -> Expr:
            place = at | dict(zip(reduced[:-1], inner, strict=True))
            if last is not None:
                place[rank - 1] = last
            return x.at(tuple(place[axis] for axis in range(rank)))

        outer_dims = [dims[axis] for axis in reduced[:-1]]
        if not reduced:
            result: Expr = value((), None)
            statements: Block = ()
        else:
            statements, result = reduce_row(
                context, dtype, dims[-1], identity, combine, outer_dims, value
            )
        final = _finished(kind, result, count)
        return (*statements, context.sink.store(_result_at(kind, kept, at, rank), final))

    return nest(context.names, [dims[axis] for axis in kept], one)


def reduce_row(
    context: KernelContext,
    dtype: DType,
    extent: int,
    identity: float,
    combine: Combine,
    outer_dims: list[int],
    value: Callable[[tuple[Expr, ...], Expr], Expr],
) -> tuple[Block, Expr]:
    """Combines value(outer, i) over `outer_dims` and i < extent; lanes first, then across them.

    Gives the statements, and the result as a variable that they bind.
    """
    lanes = min(context.lanes(dtype), max(extent, 1))
    partial = context.registers("partial", dtype, lanes)
    start = Const(dtype, identity)
    names = context.names
    statements = lanes_of(names, index(0), lanes, lambda lane: (Store(partial, lane, start),))

    def row(outer: tuple[Expr, ...]) -> Block:
        def block(base: Expr, width: int) -> Block:
            def lane_body(lane: Expr) -> Block:
                total = combine(load(partial, lane), value(outer, base + lane))
                return (Store(partial, lane, total),)

            return lanes_of(names, index(0), width, lane_body)

        whole, rest = divmod(extent, lanes)
        blocks = loop(names, "b", 0, whole, lambda b: block(b * lanes, lanes))
        return blocks + (block(index(whole * lanes), rest) if rest else ())

    statements += nest(names, outer_dims, row)
    width = lanes
    while width > 1:
        half = (width + 1) // 2
        pairs = width - half

        def fold(lane: Expr, half: int = half) -> Block:
            return (Store(partial, lane, combine(load(partial, lane), load(partial, lane + half))),)

        statements += lanes_of(names, index(0), pairs, fold)
        width = half
    result = Var(dtype, names.fresh("r"))
    return (*statements, Let(result, load(partial, index(0)))), result


def lower_arg_reduce(context: KernelContext) -> Block:
    """Lowers ArgReduce: one pass that keeps the best value and where it was."""
    kind = context.op.kind
    assert isinstance(kind, ArgReduce)
    x = context.source(0)
    dims, rank = x.type.dims, x.type.rank
    dtype = compute_type(x.type.dtype)
    kept = [axis for axis in range(rank) if axis != kind.axis]

    def one(outer: tuple[Expr, ...]) -> Block:
        at = dict(zip(kept, outer, strict=True))

        def element(position: Expr) -> Expr:
            place = {**at, kind.axis: position}
            return x.at(tuple(place[axis] for axis in range(rank)))

        best = context.registers("best", dtype, 1)
        where = context.registers("where", DType.I64, 1)
        zero = index(0)

        def step(position: Expr) -> Block:
            value = Var(dtype, context.names.fresh("v"))
            wins = _wins(kind, value, load(best, zero))
            chosen = Var(DType.BOOL, context.names.fresh("w"))
            return (
                Let(value, element(position)),
                Let(chosen, wins),
                Store(best, zero, select(chosen, value, load(best, zero))),
                Store(where, zero, select(chosen, position.cast(DType.I64), load(where, zero))),
            )

        result_at = tuple(
            zero if axis == kind.axis else at[axis]
            for axis in range(rank)
            if kind.keep_dims or axis != kind.axis
        )
        return (
            Store(best, zero, element(zero)),
            Store(where, zero, Const(DType.I64, 0)),
            *loop(context.names, "k", 1, dims[kind.axis], step),
            context.sink.store(result_at, load(where, zero)),
        )

    return nest(context.names, [dims[axis] for axis in kept], one)


def _wins(kind: ArgReduce, value: Expr, best: Expr) -> Expr:
    """NumPy's order: the first (or last) extreme; a NaN beats every number."""
    if kind.function is ArgFunction.ARGMAX:
        better = value >= best if kind.select_last else value > best
    else:
        better = value <= best if kind.select_last else value < best
    if value.type not in (DType.F32, DType.F64):
        return better
    nan_wins = (
        value.differs(value) if kind.select_last else (value.differs(value) & best.equals(best))
    )
    return nan_wins | better


def lower_softmax(context: KernelContext) -> Block:
    """Lowers Softmax: per row the maximum, the sum of exponentials (kept), the division.

    A scratch row holds them, so that the input is read once and the result written once.
    """
    kind = context.op.kind
    assert isinstance(kind, Softmax)
    x = context.source(0)
    dims, rank = x.type.dims, x.type.rank
    dtype = compute_type(x.type.dtype)
    axis, extent = kind.axis, x.type.dims[kind.axis]
    kept = [a for a in range(rank) if a != axis]
    row_buffer = context.scratch(dtype, extent)

    def one(outer: tuple[Expr, ...]) -> Block:
        place = dict(zip(kept, outer, strict=True))

        def at(position: Expr) -> tuple[Expr, ...]:
            full = {**place, axis: position}
            return tuple(full[a] for a in range(rank))

        return _softmax_row(context, kind, row_buffer, extent, dtype, x, at)

    return nest(context.names, [dims[a] for a in kept], one)


def _softmax_row(
    context: KernelContext,
    kind: Softmax,
    row: Buffer,
    extent: int,
    dtype: DType,
    x: Source,
    at: Callable[[Expr], tuple[Expr, ...]],
) -> Block:
    names, lanes = context.names, context.lanes(dtype)
    copy = vectorized(names, extent, lanes, lambda i: (Store(row, i, x.at(at(i))),))
    largest_code, largest = reduce_row(
        context, dtype, extent, -math.inf, _maximum, [], lambda _, i: load(row, i)
    )

    def exponential(i: Expr) -> Block:
        shifted = load(row, i) - largest
        return (Store(row, i, kernel_math.unary(UnaryFunction.EXP, shifted)),)

    exponentials = () if kind.log else vectorized(names, extent, lanes, exponential)

    def term(_: tuple[Expr, ...], i: Expr) -> Expr:
        if kind.log:
            return kernel_math.unary(UnaryFunction.EXP, load(row, i) - largest)
        return load(row, i)

    total_code, total = reduce_row(context, dtype, extent, 0, lambda a, b: a + b, [], term)
    scale = Var(dtype, names.fresh("scale"))
    if kind.log:
        let = Let(scale, kernel_math.unary(UnaryFunction.LOG, total))
    else:
        let = Let(scale, Const(dtype, 1.0) / total)

    def finish(i: Expr) -> Block:
        value = load(row, i) - largest - scale if kind.log else load(row, i) * scale
        return (context.sink.store(at(i), value),)

    last = vectorized(names, extent, lanes, finish)
    return (*copy, *largest_code, *exponentials, *total_code, let, *last)
