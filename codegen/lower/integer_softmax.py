"""Lowering of QuantizedSoftmax: the largest of a row, the sum of exponentials, then each element.

Its binary32 arithmetic is that of the target, or is done by integers where there is no float unit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, NarrowingCast, Var, index, load, select
from lepton_cc.codegen.kernel.ir import Block, Let, Store
from lepton_cc.codegen.kernel.math.positive_float import (
    Positive,
    positive_sum,
    rounded_positive_product,
    scaled_reciprocal,
)
from lepton_cc.codegen.kernel.math.requantize import round_to_integer
from lepton_cc.codegen.kernel.schedule import loop, nest
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import Source
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.integer import QuantizedSoftmax
from lepton_cc.ir.tensor import Array

# Result scales for which nothing in a row is subnormal or infinite.
_PLAIN_SCALES = (2.0**-60, 2.0**60)


def lower_quantized_softmax(context: KernelContext) -> Block:
    """Lowers QuantizedSoftmax, row by row."""
    kind = context.op.kind
    assert isinstance(kind, QuantizedSoftmax)
    x = context.source(0)
    kept = [axis for axis in range(x.type.rank) if axis != kind.axis]
    plain = _PLAIN_SCALES[0] <= kind.scale <= _PLAIN_SCALES[1]
    arithmetic = _Floats() if context.target.float_unit or not plain else _Integers()

    def one(outer: tuple[Expr, ...]) -> Block:
        place = dict(zip(kept, outer, strict=True))

        def at(position: Expr) -> tuple[Expr, ...]:
            full = {**place, kind.axis: position}
            return tuple(full[axis] for axis in range(x.type.rank))

        return _row(context, kind, x, arithmetic, at)

    return nest(context.names, [x.type.dims[axis] for axis in kept], one)


# Makes clamp(low, high, RNE(fl(term * reciprocal))) of a term.
_Scale = Callable[[Expr, int, int], Expr]


class _Arithmetic(Protocol):
    """How terms are held, added, and scaled by the reciprocal of fl(sum * scale)."""

    @property
    def dtype(self) -> DType: ...

    def stored(self, terms: Array) -> Array: ...

    def add(self, total: Expr, term: Expr) -> Expr: ...

    def reciprocal(
        self, context: KernelContext, total: Expr, scale: float
    ) -> tuple[Block, _Scale]: ...


@dataclass(frozen=True, slots=True)
class _Floats:
    """Terms are floats."""

    dtype: DType = DType.F32

    def stored(self, terms: Array) -> Array:
        return terms

    def add(self, total: Expr, term: Expr) -> Expr:
        return total + term

    def reciprocal(self, context: KernelContext, total: Expr, scale: float) -> tuple[Block, _Scale]:
        found = Var(DType.F32, context.names.fresh("r"))
        code = (Let(found, Const(DType.F32, 1.0) / (total * Const(DType.F32, scale))),)
        return code, lambda term, low, high: round_to_integer(term * found, low, high)


@dataclass(frozen=True, slots=True)
class _Integers:
    """Terms are the encodings of floats."""

    dtype: DType = DType.U32

    def stored(self, terms: Array) -> Array:
        return np.ascontiguousarray(terms).view(np.uint32)

    def add(self, total: Expr, term: Expr) -> Expr:
        return positive_sum(total, term)

    def reciprocal(self, context: KernelContext, total: Expr, scale: float) -> tuple[Block, _Scale]:
        value = scaled_reciprocal(total, scale)
        mantissa = Var(DType.U32, context.names.fresh("m"))
        exponent = Var(DType.I32, context.names.fresh("e"))
        code = (Let(mantissa, value.mantissa), Let(exponent, value.exponent))
        factor = Positive(mantissa, exponent)
        return code, lambda term, low, high: rounded_positive_product(term, factor, low, high)


def _row(
    context: KernelContext,
    kind: QuantizedSoftmax,
    x: Source,
    arithmetic: _Arithmetic,
    at: Callable[[Expr], tuple[Expr, ...]],
) -> Block:
    names, extent = context.names, x.type.dims[kind.axis]
    zero = index(0)
    exponentials = context.constant(arithmetic.stored(kind.exponentials.array))
    largest = context.registers("largest", DType.I32, 1)
    total = context.registers("total", arithmetic.dtype, 1)

    def element(position: Expr) -> Expr:
        return x.at(at(position)).cast(DType.I32)

    def term(position: Expr) -> Expr:
        distance = load(largest, zero) - element(position)
        return load(exponentials, distance.cast(zero.type))

    def raise_largest(position: Expr) -> Block:
        value, best = element(position), load(largest, zero)
        return (Store(largest, zero, select(value > best, value, best)),)

    def add(position: Expr) -> Block:
        return (Store(total, zero, arithmetic.add(load(total, zero), term(position))),)

    code, scaled = arithmetic.reciprocal(context, load(total, zero), kind.scale)
    range_ = kind.range
    low, high = range_.low - range_.zero_point, range_.high - range_.zero_point

    def store(position: Expr) -> Block:
        rounded = scaled(term(position), low, high)
        wide = rounded + range_.zero_point if range_.zero_point else rounded
        value = NarrowingCast(compute_type(range_.dtype), wide)
        return (context.sink.store(at(position), value),)

    return (
        Store(largest, zero, element(zero)),
        *loop(names, "k", 1, extent, raise_largest),
        Store(total, zero, Const(arithmetic.dtype, 0)),
        *loop(names, "k", 0, extent, add),
        *code,
        *loop(names, "k", 0, extent, store),
    )
