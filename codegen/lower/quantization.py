"""Lowering of quantize and dequantize: expressions of one element, for `pointwise`."""

from collections.abc import Sequence

from lepton_cc.codegen.kernel.ir import Expr, Unary, UnaryOp, maximum, minimum, select
from lepton_cc.codegen.kernel.math import convert
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.types import TensorType

# Far outside every range that is quantized to, and exact as a float and as an i32.
_FAR = float(1 << 20)


def quantized(kind: Quantize, values: Sequence[Expr], operands: Sequence[TensorType]) -> Expr:
    """saturate(round(x / scale) + zero_point), as `ir.ops.quantization` defines it."""
    wide = DType.F64 if operands[0].dtype is DType.F64 else DType.F32
    ratio = values[0].cast(wide) / values[1].cast(wide)
    if kind.dtype.is_float:
        return convert(ratio, wide, kind.dtype, saturate=kind.saturate)
    low, high = integer_bounds(kind.dtype)
    rounded = Unary(wide, UnaryOp.ROUND_EVEN, ratio)
    bounded = minimum(maximum(rounded, -_FAR), _FAR)
    number = select(ratio.equals(ratio), bounded, 0.0).cast(DType.I32)
    if len(values) > 2:
        number = number + values[2].cast(DType.I32)
    return minimum(maximum(number, low), high).cast(compute_type(kind.dtype))


def dequantized(kind: Dequantize, values: Sequence[Expr], operands: Sequence[TensorType]) -> Expr:
    """(x - zero_point) * scale, as `ir.ops.quantization` defines it."""
    wide = DType.F64 if kind.dtype is DType.F64 else DType.F32
    inner = wide if operands[0].dtype.is_float else DType.I32
    difference = values[0].cast(inner)
    if len(values) > 2:
        difference = difference - values[2].cast(inner)
    return difference.cast(wide) * values[1].cast(wide)
