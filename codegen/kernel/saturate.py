"""Requantized bytes by instructions that saturate: the form of `legalize` for vector units.

Rounding to an integer and narrowing with saturation clamp for nothing where the number before is
proved to fit 32 bits; the zero point is added in between. What comes next in a sum of tensors stays
in binary32, and a sign bit that is flipped for dot products becomes part of the zero point. All of
it is exact: the bits are those of the plain forms (docs/numerics.md, "Integers").
"""

from lepton_cc.codegen.kernel.expr import (
    Binary,
    BinaryOp,
    Bitcast,
    Cast,
    Const,
    Expr,
    NarrowingCast,
    Unary,
    UnaryOp,
    maximum,
    minimum,
)
from lepton_cc.codegen.kernel.integer_expr import QuantizedSum, RoundedProduct, Saturate
from lepton_cc.codegen.kernel.ir import Kernel
from lepton_cc.codegen.kernel.math.quantized_sum import FusedMultiplyAdd
from lepton_cc.codegen.kernel.math.requantize import clamped_integer
from lepton_cc.codegen.kernel.rewrite import rewrite
from lepton_cc.ir.dtype import DType, integer_bounds

# Below this a rounded number and a zero point of 17 bits fit 32 bits.
_FITTING = float(1 << 30)
_SIGN = 128


def saturating(kernel: Kernel, fma: FusedMultiplyAdd) -> Kernel:
    """The kernel with its requantizations to bytes, where they are proved to fit, rewritten."""

    def rule(expr: Expr) -> Expr:
        if isinstance(expr, NarrowingCast) and expr.type in (DType.I8, DType.U8):
            return _narrowed(expr, fma)
        if isinstance(expr, Binary) and expr.op is BinaryOp.XOR and expr.type is DType.U8:
            return _flipped(expr)
        return expr

    return rewrite(kernel, rule)


def saturated(expr: Saturate) -> Expr:
    """The same by comparisons, for operands that the addend does not make too large."""
    assert isinstance(expr.type, DType)
    low, high = integer_bounds(expr.type)
    return minimum(maximum(expr.operand + expr.addend, low), high).cast(expr.type)


def _narrowed(expr: NarrowingCast, fma: FusedMultiplyAdd) -> Expr:
    value, zero_point = _split(expr.operand)
    if isinstance(value, RoundedProduct) and value.bound < _FITTING:
        number: Expr = value.value.cast(DType.F32) * value.scale
    elif isinstance(value, QuantizedSum) and _sum_bound(value) < _FITTING:
        number = _total(value, fma)
    else:
        return expr
    rounded = Unary(DType.F32, UnaryOp.ROUND_EVEN, number).cast(DType.I32)
    assert isinstance(expr.type, DType)
    lowest, highest = integer_bounds(expr.type)
    if value.low + zero_point > lowest:
        rounded = maximum(rounded, value.low)
    if value.high + zero_point < highest:
        rounded = minimum(rounded, value.high)
    return Saturate(expr.type, rounded, zero_point)


def _split(expr: Expr) -> tuple[Expr, int]:
    """An integer as a number and a constant that is added."""
    if isinstance(expr, Binary) and expr.op is BinaryOp.ADD and isinstance(expr.rhs, Const):
        return expr.lhs, int(expr.rhs.value)
    return expr, 0


def _sum_bound(sum_: QuantizedSum) -> float:
    scales = abs(sum_.lhs_scale) + abs(sum_.rhs_scale)
    return scales * sum_.magnitude + abs(sum_.offset)


def _total(sum_: QuantizedSum, fma: FusedMultiplyAdd) -> Expr:
    lhs_scale, rhs_scale, offset = (
        Const(DType.F32, x) for x in (sum_.lhs_scale, sum_.rhs_scale, sum_.offset)
    )
    inner = fma(_in_binary32(sum_.rhs), rhs_scale, offset)
    return fma(_in_binary32(sum_.lhs), lhs_scale, inner)


def _in_binary32(expr: Expr) -> Expr:
    """An operand of a sum as a float, by fewer conversions."""
    value, zero_point = _split(expr)
    if isinstance(value, RoundedProduct):
        product = value.value.cast(DType.F32) * value.scale
        return clamped_integer(product, value.low, value.high, zero_point)
    unsigned = _sign_flipped(expr.operand) if isinstance(expr, Cast) else None
    if unsigned is not None:
        return (unsigned.cast(DType.I32) - _SIGN).cast(DType.F32)
    return expr.cast(DType.F32)


def _sign_flipped(expr: Expr) -> Expr | None:
    """u if the i8 is made of the u8 u by flipping its sign bit."""
    if not isinstance(expr, Bitcast) or expr.type is not DType.I8:
        return None
    flip = expr.operand
    if not isinstance(flip, Binary) or flip.op is not BinaryOp.XOR or flip.type is not DType.U8:
        return None
    is_sign = isinstance(flip.rhs, Const) and flip.rhs.value == _SIGN
    return flip.lhs if is_sign else None


def _flipped(expr: Binary) -> Expr:
    bits, mask = expr.lhs, expr.rhs
    if not isinstance(bits, Bitcast) or not isinstance(mask, Const) or mask.value != _SIGN:
        return expr
    signed = bits.operand
    if not isinstance(signed, Saturate) or signed.type is not DType.I8:
        return expr
    return Saturate(DType.U8, signed.operand, signed.addend + _SIGN)
