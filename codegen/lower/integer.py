"""Lowering of the integer ops of quantized models; the formulas are those of `ir.ops.integer`."""

from collections.abc import Callable

from lepton_cc.codegen.kernel.ir import (
    INDEX,
    Block,
    Buffer,
    Const,
    Expr,
    FusedMulAdd,
    Let,
    NarrowingCast,
    QuantizedSum,
    RoundedProduct,
    Store,
    Var,
    index,
    load,
    select,
)
from lepton_cc.codegen.kernel.math.requantize import round_to_integer
from lepton_cc.codegen.kernel.schedule import loop, nest
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type, from_storage
from lepton_cc.codegen.lower.source import Source
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.ops.integer import (
    QuantizedAdd,
    QuantizedMul,
    QuantizedSoftmax,
    Range,
    Requantize,
    Table,
)
from lepton_cc.ir.tensor import Array


def _narrowed(rounded: Expr, zero_point: int, dtype: DType) -> Expr:
    """An i32 that fits the type, with the zero point added."""
    wide = rounded + zero_point if zero_point else rounded
    return NarrowingCast(compute_type(dtype), wide)


def _rounded_product(value: Expr, scale: Expr, range_: Range) -> Expr:
    low, high = range_.low - range_.zero_point, range_.high - range_.zero_point
    product = RoundedProduct(DType.I32, value, scale, low, high)
    return _narrowed(product, range_.zero_point, range_.dtype)


def requantized(kind: Requantize, values: tuple[Expr, ...]) -> Expr:
    """The result element of Requantize."""
    wide = values[0].cast(DType.I32)
    centered = wide - kind.input_zero_point if kind.input_zero_point else wide
    return _rounded_product(centered, values[1], kind.range)


def quantized_sum(kind: QuantizedAdd, values: tuple[Expr, ...]) -> Expr:
    """The result element of QuantizedAdd."""
    lhs, rhs = (value.cast(DType.I32) for value in values)
    magnitude = max(abs(bound) for value in values for bound in _bounds(value))
    rounded = QuantizedSum(
        DType.I32,
        lhs,
        rhs,
        magnitude,
        kind.lhs_scale,
        kind.rhs_scale,
        kind.offset,
        kind.range.low,
        kind.range.high,
    )
    return _narrowed(rounded, 0, kind.range.dtype)


def _bounds(value: Expr) -> tuple[int, int]:
    assert isinstance(value.type, DType)
    return integer_bounds(value.type)


def quantized_product(kind: QuantizedMul, values: tuple[Expr, ...]) -> Expr:
    """The result element of QuantizedMul."""
    lhs = values[0].cast(DType.I32) - kind.lhs_zero_point
    rhs = values[1].cast(DType.I32) - kind.rhs_zero_point
    product, one = (lhs * rhs).cast(DType.F32), Const(DType.F32, 1.0)
    # Two roundings, as the formula has them: no target may contract a product and a sum.
    scaled = FusedMulAdd(DType.F32, product, Const(DType.F32, kind.scale), Const(DType.F32, -0.0))
    total = FusedMulAdd(DType.F32, scaled, one, Const(DType.F32, float(kind.range.zero_point)))
    rounded = round_to_integer(total, kind.range.low, kind.range.high)
    return _narrowed(rounded, 0, kind.range.dtype)


def looked_up(kind: Table, value: Expr, constant: Callable[[Array], Buffer]) -> Expr:
    """The result element of Table; the entries are a constant of the kernel."""
    low, _ = integer_bounds(DType.I8 if value.type is DType.I8 else DType.U8)
    at = value.cast(INDEX) - low
    return from_storage(load(constant(kind.entries.array), at), kind.entries.type.dtype)


def lower_quantized_softmax(context: KernelContext) -> Block:
    """Lowers QuantizedSoftmax: maximum, sum in index order, then each element."""
    kind = context.op.kind
    assert isinstance(kind, QuantizedSoftmax)
    x = context.source(0)
    kept = [axis for axis in range(x.type.rank) if axis != kind.axis]
    exponentials = context.constant(kind.exponentials.array)

    def one(outer: tuple[Expr, ...]) -> Block:
        place = dict(zip(kept, outer, strict=True))

        def at(position: Expr) -> tuple[Expr, ...]:
            full = {**place, kind.axis: position}
            return tuple(full[axis] for axis in range(x.type.rank))

        return _softmax_row(context, kind, x, exponentials, at)

    return nest(context.names, [x.type.dims[axis] for axis in kept], one)


def _softmax_row(
    context: KernelContext,
    kind: QuantizedSoftmax,
    x: Source,
    exponentials: Buffer,
    at: Callable[[Expr], tuple[Expr, ...]],
) -> Block:
    names, extent = context.names, x.type.dims[kind.axis]
    zero = index(0)
    largest = context.registers("largest", DType.I32, 1)
    total = context.registers("total", DType.F32, 1)

    def element(position: Expr) -> Expr:
        return x.at(at(position)).cast(DType.I32)

    def term(position: Expr) -> Expr:
        return load(exponentials, (load(largest, zero) - element(position)).cast(INDEX))

    def raise_largest(position: Expr) -> Block:
        value, best = element(position), load(largest, zero)
        return (Store(largest, zero, select(value > best, value, best)),)

    def add(position: Expr) -> Block:
        return (Store(total, zero, load(total, zero) + term(position)),)

    reciprocal = Var(DType.F32, names.fresh("r"))
    scaled = load(total, zero) * Const(DType.F32, kind.scale)
    low, high = kind.range.low - kind.range.zero_point, kind.range.high - kind.range.zero_point

    def store(position: Expr) -> Block:
        rounded = round_to_integer(term(position) * reciprocal, low, high)
        value = _narrowed(rounded, kind.range.zero_point, kind.range.dtype)
        return (context.sink.store(at(position), value),)

    return (
        Store(largest, zero, element(zero)),
        *loop(names, "k", 1, extent, raise_largest),
        Store(total, zero, Const(DType.F32, 0.0)),
        *loop(names, "k", 0, extent, add),
        Let(reciprocal, Const(DType.F32, 1.0) / scaled),
        *loop(names, "k", 0, extent, store),
    )
