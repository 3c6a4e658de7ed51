"""Lowering of quantize and dequantize: expressions of one element, for `pointwise`."""

from collections.abc import Sequence

from lepton_cc.codegen.kernel.expr import Const, Expr, maximum, minimum
from lepton_cc.codegen.kernel.integer_expr import RoundedQuotient
from lepton_cc.codegen.kernel.math import convert
from lepton_cc.codegen.kernel.math.quotient import bounded_integer
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.types import TensorType

# `RoundedQuotient` takes divisors from here to the reciprocal.
_LEAST_DIVISOR = 2.0**-60


def quantized(kind: Quantize, values: Sequence[Expr], operands: Sequence[TensorType]) -> Expr:
    """saturate(round(x / scale) + zero_point), as `ir.ops.quantization` defines it."""
    wide = DType.F64 if operands[0].dtype is DType.F64 else DType.F32
    scale = values[1]
    divisor = _divisor(scale)
    if wide is DType.F32 and not kind.dtype.is_float and divisor is not None:
        return _quantized_by_constant(kind, values[0].cast(wide), divisor, values[2:])
    ratio = values[0].cast(wide) / scale.cast(wide)
    if kind.dtype.is_float:
        return convert(ratio, wide, kind.dtype, saturate=kind.saturate)
    return _saturated(kind, bounded_integer(ratio), values[2:])


def _quantized_by_constant(
    kind: Quantize, value: Expr, divisor: float, zero_point: Sequence[Expr]
) -> Expr:
    """The same where the scale is known; if the zero point is too, the quotient saturates."""
    offset = zero_point[0] if zero_point else Const(kind.dtype, 0)
    if not isinstance(offset, Const):
        return _saturated(kind, RoundedQuotient(DType.I32, value, divisor), zero_point)
    low, high = (bound - int(offset.value) for bound in integer_bounds(kind.dtype))
    quotient = RoundedQuotient(DType.I32, value, divisor, low, high)
    return (quotient + int(offset.value)).cast(compute_type(kind.dtype))


def _divisor(scale: Expr) -> float | None:
    """The scale, if it is a constant that `RoundedQuotient` takes."""
    if not isinstance(scale, Const) or scale.type is not DType.F32:
        return None
    return float(scale.value) if _LEAST_DIVISOR <= scale.value <= 1 / _LEAST_DIVISOR else None


def _saturated(kind: Quantize, number: Expr, zero_point: Sequence[Expr]) -> Expr:
    low, high = integer_bounds(kind.dtype)
    if zero_point:
        number = number + zero_point[0].cast(DType.I32)
    return minimum(maximum(number, low), high).cast(compute_type(kind.dtype))


def dequantized(kind: Dequantize, values: Sequence[Expr], operands: Sequence[TensorType]) -> Expr:
    """(x - zero_point) * scale, as `ir.ops.quantization` defines it."""
    wide = DType.F64 if kind.dtype is DType.F64 else DType.F32
    inner = wide if operands[0].dtype.is_float else DType.I32
    difference = values[0].cast(inner)
    if len(values) > 2:
        difference = difference - values[2].cast(inner)
    return difference.cast(wide) * values[1].cast(wide)
