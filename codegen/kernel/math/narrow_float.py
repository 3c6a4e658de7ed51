"""Floats narrower than binary32, as integers in memory, to and from binary32: bit exact.

Rounds to nearest even as NumPy (f16) and ml_dtypes (the others) do, subnormals and NaN included.
The one exception is f8e8m0fnu, powers of two alone, whose ties go up (as in ml_dtypes).
"""

from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr, literal, select
from lepton_cc.codegen.kernel.math.float_format import BINARY32, from_bits, magnitude, to_bits
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType


@dataclass(frozen=True, slots=True)
class NarrowFormat:
    """A narrow float format; codes are without the sign.

    largest: the greatest finite code. overflow: the code of what rounds beyond it (infinity, NaN
    or the largest). nan: what NaN becomes; `sign_bit` alone in formats without a negative zero.
    """

    mantissa_bits: int
    bias: int
    sign_bit: int
    largest: int
    overflow: int
    nan: int
    has_infinity: bool = False
    unsigned_zero: bool = False


FORMATS = {
    DType.F16: NarrowFormat(10, 15, 0x8000, 0x7BFF, 0x7C00, 0x7E00, has_infinity=True),
    DType.BF16: NarrowFormat(7, 127, 0x8000, 0x7F7F, 0x7F80, 0x7FC0, has_infinity=True),
    DType.F8E5M2: NarrowFormat(2, 15, 0x80, 0x7B, 0x7C, 0x7E, has_infinity=True),
    DType.F8E4M3FN: NarrowFormat(3, 7, 0x80, 0x7E, 0x7F, 0x7F),
    DType.F8E4M3FNUZ: NarrowFormat(3, 8, 0x80, 0x7F, 0x80, 0x80, unsigned_zero=True),
    DType.F8E5M2FNUZ: NarrowFormat(2, 16, 0x80, 0x7F, 0x80, 0x80, unsigned_zero=True),
    DType.F4E2M1FN: NarrowFormat(1, 1, 0x8, 0x7, 0x7, 0x8),
}


def storage_type(dtype: DType) -> DType:
    """What a buffer of the type holds in kernels: u8 or u16 for narrow floats, else the type."""
    if not dtype.is_float or dtype.bits >= 32:
        return dtype
    return DType.U16 if dtype.bits == 16 else DType.U8


def decode(code: Expr, dtype: DType) -> Expr:
    """The binary32 of an encoding in `storage_type(dtype)`; other types pass through."""
    if storage_type(dtype) is dtype:
        return code
    wide = code.cast(DType.I32)
    if dtype is DType.F8E8M0FNU:
        return _decode_exponent(wide)
    fmt = _format(dtype)
    shift = BINARY32.mantissa_bits - fmt.mantissa_bits
    size = wide & (fmt.sign_bit - 1)
    value = from_bits(size << shift)
    if fmt.bias != BINARY32.bias:
        value = value * 2.0 ** (BINARY32.bias - fmt.bias)
        if fmt.has_infinity:
            special = from_bits((size << shift) | 0x7F800000)
            value = select(size > fmt.largest, special, value)
    sign = (wide & fmt.sign_bit) << (32 - fmt.sign_bit.bit_length())
    signed = from_bits(to_bits(value) | sign)
    if fmt.has_infinity or dtype is DType.F4E2M1FN:
        return signed
    is_nan = wide.equals(fmt.nan) if fmt.unsigned_zero else size.equals(fmt.nan)
    return select(is_nan, literal(float("nan"), DType.F32), signed)


def encode(x: Expr, dtype: DType, *, saturate: bool = False) -> Expr:
    """The encoding of a binary32 or binary64 in `storage_type(dtype)`; other types pass through.

    saturate: what is too large or infinite becomes the largest finite number. Binary64 goes to
    f16 with one rounding, to the others through binary32.
    """
    if storage_type(dtype) is dtype:
        return x
    if x.type is DType.F64:
        x = _rounded_to_odd(x) if dtype is DType.F16 else x.cast(DType.F32)
    if dtype is DType.F8E8M0FNU:
        return _encode_exponent(x)
    fmt = _format(dtype)
    size = to_bits(magnitude(x))
    code = _rounded_code(x, size, fmt)
    overflow = fmt.largest if saturate else fmt.overflow
    code = select(code > fmt.largest, literal(overflow, DType.I32), code)
    nan: Expr = literal(fmt.nan, DType.I32)
    if dtype is DType.F16:
        nan = (size >> (BINARY32.mantissa_bits - fmt.mantissa_bits)) & 0x3FF | fmt.nan
    code = select(size > 0x7F800000, nan, code)
    sign = (to_bits(x) >> (32 - fmt.sign_bit.bit_length())) & fmt.sign_bit
    if fmt.unsigned_zero:
        signless = code.equals(0) | code.equals(fmt.nan)
        sign = select(signless, literal(0, DType.I32), sign)
    return (code ^ sign).cast(storage_type(dtype))


def _rounded_code(x: Expr, size: Expr, fmt: NarrowFormat) -> Expr:
    shift = BINARY32.mantissa_bits - fmt.mantissa_bits
    nearest = size + ((1 << (shift - 1)) - 1) + ((size >> shift) & 1)
    normal = (nearest >> shift) - ((BINARY32.bias - fmt.bias) << fmt.mantissa_bits)
    if fmt.bias == BINARY32.bias:
        return normal
    # Added to this, a number loses the bits below the format's subnormals, rounded to even.
    unit = 2.0 ** (1 - fmt.bias - fmt.mantissa_bits + BINARY32.mantissa_bits)
    subnormal = to_bits(magnitude(x) + unit) - BINARY32.bits_of(unit)
    return select(size < BINARY32.bits_of(2.0 ** (1 - fmt.bias)), subnormal, normal)


def _rounded_to_odd(x: Expr) -> Expr:
    """Binary32 of a binary64 that rounds on to f16 as the binary64 would."""
    near = x.cast(DType.F32)
    back = near.cast(DType.F64)
    inexact = back.differs(x) & x.equals(x)
    toward_zero = to_bits(near) - select(magnitude(back) > magnitude(x), literal(1, DType.I32), 0)
    return from_bits(select(inexact, toward_zero | 1, to_bits(near)))


def _decode_exponent(code: Expr) -> Expr:
    normal = from_bits(select(code.equals(0), literal(0x00400000, DType.I32), code << 23))
    return select(code.equals(255), literal(float("nan"), DType.F32), normal)


def _encode_exponent(x: Expr) -> Expr:
    bits = to_bits(x)
    smallest = select(bits > 0x00400000, literal(1, DType.I32), 0)
    code = select(bits < 0x00800000, smallest, (bits + 0x00400000) >> 23)
    return select((bits > 0) & (bits < 0x7F800000), code, 255).cast(DType.U8)


def _format(dtype: DType) -> NarrowFormat:
    fmt = FORMATS.get(dtype)
    if fmt is None:
        raise InternalError(f"{dtype} is no narrow float")
    return fmt
