"""Integer and bool functions: division with its guards, modulo, powers, shifts, sub-byte wrapping.

Sub-byte types live in a byte; they are computed in i8 or u8 and wrapped into their range.
"""

from lepton_cc.codegen.kernel.expr import Expr, literal, select
from lepton_cc.codegen.kernel.types import is_unsigned
from lepton_cc.ir.dtype import DType


def byte_type(dtype: DType) -> DType:
    """The type that arithmetic of `dtype` happens in: a byte for sub-byte integers."""
    if dtype.is_integer and dtype.bits < 8:
        return DType.I8 if dtype.is_signed_integer else DType.U8
    return dtype


def wrapped(x: Expr, dtype: DType) -> Expr:
    """An i8 or u8 reduced modulo 2^bits into a sub-byte dtype; other types are only cast."""
    if dtype.bits >= 8 or not dtype.is_integer:
        return x.cast(dtype)
    if dtype.is_unsigned_integer:
        return (x & ((1 << dtype.bits) - 1)).cast(dtype)
    spare = 8 - dtype.bits
    return ((x << spare) >> spare).cast(dtype)


def _width(x: Expr) -> int:
    assert isinstance(x.type, DType)
    return max(8, x.type.bits)


def _guarded(y: Expr) -> tuple[Expr, Expr, Expr]:
    """(y == 0, y == -1, a divisor that is neither)."""
    zero, minus_one = y.equals(0), literal(0, DType.BOOL)
    if not is_unsigned(y.type):
        minus_one = y.equals(-1)
    return zero, minus_one, select(zero | minus_one, literal(1, y.type), y)


def divide(x: Expr, y: Expr) -> Expr:
    """x / y toward zero; 0 if y is 0, wrapping for the lowest number by -1."""
    zero, minus_one, safe = _guarded(y)
    return select(zero, literal(0, x.type), select(minus_one, -x, x // safe))


def remainder(x: Expr, y: Expr) -> Expr:
    """x - y trunc(x / y), the sign of x; 0 if y is 0."""
    _, _, safe = _guarded(y)
    return x % safe


def modulo(x: Expr, y: Expr) -> Expr:
    """x - y floor(x / y), the sign of y; 0 if y is 0."""
    rest = remainder(x, y)
    if is_unsigned(x.type):
        return rest
    crosses = rest.differs(0) & ((rest ^ y) < 0)
    return select(crosses, rest + y, rest)


def power(x: Expr, y: Expr) -> Expr:
    """x^y by repeated squaring, wrapping; truncated toward zero for y < 0 (0^y is then 0).

    Exponents from the type's width on give 0 for |x| > 1, whose powers are all out of range there.
    """
    one, zero = literal(1, x.type), literal(0, x.type)
    bits = _width(x).bit_length() - 1
    result, square = one, x
    for place in range(bits):
        result = select((y & (1 << place)).differs(0), result * square, result)
        square = square * square
    odd = (y & 1).differs(0)
    fits = y < _width(x) if _width(x) < 128 else y <= 127
    result = select(fits, result, zero)
    result = select(x.equals(1), one, result)
    if is_unsigned(x.type):
        return select(x.equals(0) & y.differs(0), zero, result)
    result = select(y < 0, select(x.equals(1), one, zero), result)
    minus_one = select(odd, literal(-1, x.type), one)
    return select(x.equals(-1), minus_one, result)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1."""
    positive = select(x > 0, literal(1, x.type), literal(0, x.type))
    return positive if is_unsigned(x.type) else select(x < 0, literal(-1, x.type), positive)


def shift_left(x: Expr, y: Expr) -> Expr:
    """x << y; 0 if y is the width or more, or negative."""
    fits = _in_width(x, y)
    return select(fits, x << select(fits, y, 0), 0)


def shift_right(x: Expr, y: Expr) -> Expr:
    """x >> y, arithmetic for signed types; only the sign is left beyond the width."""
    fits = _in_width(x, y)
    return (
        x >> select(fits, y, _width(x) - 1)
        if not is_unsigned(x.type)
        else select(fits, x >> select(fits, y, 0), 0)
    )


def _in_width(x: Expr, y: Expr) -> Expr:
    fits = y < _width(x)
    return fits if is_unsigned(y.type) else fits & (y >= 0)
