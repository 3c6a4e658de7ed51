"""Conversions between element types: as `ir.ops.numpy_math.cast_array` has them.

A value in a kernel has its element type, but for floats narrower than binary32: those are binary32
while computed and encodings in memory (`narrow_float`).
"""

from lepton_cc.codegen.kernel.expr import Expr, select
from lepton_cc.codegen.kernel.math.float_format import magnitude, truncated
from lepton_cc.codegen.kernel.math.integer import byte_type, wrapped
from lepton_cc.codegen.kernel.math.narrow_float import decode, encode, storage_type
from lepton_cc.ir.dtype import DType


def compute_type(dtype: DType) -> DType:
    """The type that values of `dtype` have in kernels: binary32 for narrower floats."""
    return dtype if storage_type(dtype) is dtype else DType.F32


def convert(x: Expr, source: DType, target: DType, *, saturate: bool = False) -> Expr:
    """A value of `source` as a value of `target`, both in their compute types.

    The result is rounded to a narrow target. saturate: for the 8-bit and 4-bit floats, as ONNX
    Cast's attribute.
    """
    if target is source:
        return x
    if target is DType.BOOL:
        return x.differs(0)
    if target.is_float and storage_type(target) is not target:
        wide = x if source.is_float else x.cast(DType.F32)
        return decode(encode(wide, target, saturate=saturate and target.bits <= 8), target)
    if target.is_float:
        return x.cast(target)
    if source.is_float:
        return float_to_integer(x, target)
    return wrapped(x.cast(byte_type(target)), target)


def float_to_integer(x: Expr, target: DType) -> Expr:
    """A float truncated and reduced modulo 2^bits; NaN and infinity give 0.

    Numbers beyond 64 bits become -2^63 first, as x86 converts them.
    """
    if target.bits == 64:
        return _to_64_bits(x, target)
    whole = select(magnitude(x) < 2.0**63, x, 0.0)
    if x.type is DType.F64:
        whole = truncated(whole)
    rest = whole - truncated(whole * 2.0**-32) * 2.0**32
    rest = select(rest >= 2.0**31, rest - 2.0**32, rest)
    rest = select(rest < -(2.0**31), rest + 2.0**32, rest)
    return wrapped(rest.cast(DType.I32).cast(byte_type(target)), target)


def _to_64_bits(x: Expr, target: DType) -> Expr:
    size = magnitude(x)
    word = select(size < 2.0**63, x, 0.0).cast(DType.I64)
    beyond = x <= -(2.0**63)
    if target is DType.U64:
        upper_half = (x >= 2.0**63) & (x < 2.0**64)
        far = (select(upper_half, x, 2.0**63) - 2.0**63).cast(DType.I64)
        word = select(upper_half, far, word)
        beyond = beyond | upper_half
    else:
        beyond = beyond | (x >= 2.0**63)
    return select(beyond & (size < float("inf")), word ^ -(2**63), word).cast(target)
