"""Lowering of pointwise integer ops of quantized models; the formulas are `ir.ops.integer`'s."""

import math
from collections.abc import Callable

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, NarrowingCast, load, maximum, minimum
from lepton_cc.codegen.kernel.integer_expr import QuantizedSum, RoundedProduct
from lepton_cc.codegen.kernel.math.significant import divided
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.lower.representation import compute_type, from_storage
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.ops.integer import (
    QuantizedAdd,
    QuantizedMul,
    Requantize,
    Table,
)
from lepton_cc.ir.ops.wide_functions import InterpolatedTable
from lepton_cc.ir.tensor import Array

# An integer other than 0 times this is beyond the bounds of every result, whatever is added.
_SATURATING = 2.0**18


def _narrowed(rounded: Expr, zero_point: int, dtype: DType) -> Expr:
    """An i32 that fits the type, with the zero point added."""
    wide = rounded + zero_point if zero_point else rounded
    return NarrowingCast(compute_type(dtype), wide)


def requantized(kind: Requantize, values: tuple[Expr, ...], bound: float = math.inf) -> Expr:
    """The result element of Requantize; no product of the two values is larger than `bound`."""
    wide = values[0] if values[0].type is DType.I64 else values[0].cast(DType.I32)
    range_ = kind.range
    centered = wide
    if kind.input_zero_point:
        centered, bound = wide - kind.input_zero_point, math.inf
    low, high = range_.low - range_.zero_point, range_.high - range_.zero_point
    product = RoundedProduct(DType.I32, centered, values[1], low, high, bound)
    return _narrowed(product, range_.zero_point, range_.dtype)


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
    """The result element of QuantizedMul: a sum of the scaled product and the zero point."""
    points = (kind.lhs_zero_point, kind.rhs_zero_point)
    lhs, rhs = (v.cast(DType.I32) - z for v, z in zip(values, points, strict=True))
    largest = [
        max(abs(bound - z) for bound in _bounds(v)) for v, z in zip(values, points, strict=True)
    ]
    magnitude = min(largest[0] * largest[1], 1 << 31)
    # Less than a quarter changes no integer; what this factor does not saturate is 0.
    scale = 0.0 if magnitude * kind.scale < 0.25 else min(kind.scale, _SATURATING)
    rounded = QuantizedSum(
        DType.I32,
        Const(DType.I32, 1),
        lhs * rhs,
        magnitude,
        float(kind.range.zero_point),
        scale,
        0.0,
        kind.range.low,
        kind.range.high,
    )
    return _narrowed(rounded, 0, kind.range.dtype)


def looked_up(kind: Table, value: Expr, constant: Callable[[Array], Buffer]) -> Expr:
    """The result element of Table; the entries are a constant of the kernel."""
    low, _ = integer_bounds(DType.I8 if value.type is DType.I8 else DType.U8)
    at = value.cast(INDEX) - low
    return from_storage(load(constant(kind.entries.array), at), kind.entries.type.dtype)


def looked_up_between(
    kind: InterpolatedTable, value: Expr, constant: Callable[[Array], Buffer]
) -> Expr:
    """The result element of InterpolatedTable; the entries are a constant of the kernel."""
    low, _ = integer_bounds(DType.I16 if value.type is DType.I16 else DType.U16)
    array = kind.entries.array
    position = value.cast(DType.I32) - low
    line = interpolated(constant(array), largest_step(array), position, kind.step_bits)
    y, unit = divided(line, kind.fraction), 1 << kind.fraction
    if array.min() < kind.range.low * unit or array.max() > kind.range.high * unit:
        y = minimum(maximum(y, kind.range.low), kind.range.high)
    return NarrowingCast(compute_type(kind.range.dtype), y)


def interpolated(entries: Buffer, largest_step: int, position: Expr, bits: int) -> Expr:
    """An i32 between neighbouring entries, which differ by at most `largest_step`.

    The element at position / 2^bits, rounded half to even; position is an i32 that is not negative.
    """
    at, rest = (position >> bits).cast(INDEX), position & ((1 << bits) - 1)
    first, second = (load(entries, at + offset).cast(DType.I32) for offset in (0, 1))
    wide = DType.I32 if largest_step << bits < 1 << 30 else DType.I64
    rise = (second - first).cast(wide) * rest.cast(wide)
    return first + divided(rise, bits).cast(DType.I32)


def largest_step(entries: Array) -> int:
    """The largest difference between neighbouring entries."""
    return int(np.abs(np.diff(entries.astype(np.int64))).max())
