"""Kernel IR types, constants and names in C99's notation."""

import math
import re

import numpy as np

from lepton_cc.codegen.kernel.types import INDEX, ScalarType, is_float
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType


def width(type_: ScalarType) -> int:
    """Bits of a value of an element type; sub-byte integers and bool take a byte."""
    assert isinstance(type_, DType)
    return max(8, type_.bits)


def value_type(type_: ScalarType) -> str:
    """The C type of a value: bool is an int of 0 or 1, INDEX is ptrdiff_t."""
    if type_ is INDEX:
        return "ptrdiff_t"
    if type_ is DType.BOOL:
        return "int"
    if type_ is DType.F32:
        return "float"
    if type_ is DType.F64:
        return "double"
    assert isinstance(type_, DType)
    if is_float(type_):
        raise InternalError(f"{type_.value} is storage only; lowerings convert it")
    return f"{'u' if type_.is_unsigned_integer else ''}int{width(type_)}_t"


def element_type(dtype: DType) -> str:
    """The C type of an element of a local array."""
    return "uint8_t" if dtype is DType.BOOL else value_type(dtype)


def memory_type(dtype: DType) -> str:
    """The name of the type through which memory is read and written, whatever was there before."""
    return f"lepton_{DType.U8.value if dtype is DType.BOOL else element_alias(dtype)}"


def element_alias(dtype: DType) -> str:
    """f32, i8 and so on: the short name of an element's C type."""
    if is_float(dtype):
        return dtype.value
    return f"{'u' if dtype.is_unsigned_integer else 'i'}{width(dtype)}"


def wide_unsigned(type_: ScalarType) -> str:
    """The unsigned type in which arithmetic of an integer type wraps without promotion to int."""
    return "uint64_t" if width(type_) == 64 else "uint32_t"


def literal(value: int | float, type_: ScalarType) -> str:
    """A constant; one that needs parentheses has them. Infinities and NaN are `float_bits`'s."""
    if type_ is INDEX:
        return _signed(int(value))
    if type_ is DType.BOOL:
        return "1" if value else "0"
    if is_float(type_):
        return _float(value, single=type_ is DType.F32)
    assert isinstance(type_, DType)
    wrapped = int(value) & ((1 << width(type_)) - 1)
    if type_.is_signed_integer and wrapped >> (width(type_) - 1):
        wrapped -= 1 << width(type_)
    if width(type_) < 32:
        return _signed(wrapped)
    if type_ is DType.I32:
        return "INT32_MIN" if wrapped == -(2**31) else _signed(wrapped)
    if type_ is DType.I64 and wrapped == -(2**63):
        return "INT64_MIN"
    if type_.is_unsigned_integer:
        return f"{_digits(wrapped)}u" if type_ is DType.U32 else f"UINT64_C({_digits(wrapped)})"
    return f"INT64_C({_digits(wrapped)})" if wrapped >= 0 else f"(-INT64_C({_digits(-wrapped)}))"


def _signed(value: int) -> str:
    return _digits(value) if value >= 0 else f"(-{_digits(-value)})"


def _digits(value: int) -> str:
    return str(value) if value < 1 << 16 else hex(value)


def float_bits(value: int | float, type_: ScalarType) -> int | None:
    """The encoding of an infinity or NaN, None for numbers."""
    rounded = _rounded(value, single=type_ is DType.F32)
    if math.isfinite(rounded):
        return None
    exponent, quiet = (0x7F800000, 22) if type_ is DType.F32 else (0x7FF << 52, 51)
    if math.isnan(rounded):
        return exponent | 1 << quiet
    negative = 1 << (31 if type_ is DType.F32 else 63)
    return exponent | (negative if rounded < 0 else 0)


def _rounded(value: int | float, *, single: bool) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) if single else float(value)


def _float(value: int | float, *, single: bool) -> str:
    number = _rounded(value, single=single)
    size = abs(number)
    if size < 2**20 and (size * 1024).is_integer():
        digits = repr(size)
    else:
        mantissa, exponent = size.hex().split("p")
        head = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        digits = f"{head}p{exponent}"
    text = digits + ("f" if single else "")
    return f"(-{text})" if math.copysign(1.0, number) < 0 else text


_KEYWORD_TEXT = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while asm typeof bool true false nullptr alignas alignof constexpr thread_local
static_assert main class delete new this template
"""
_KEYWORDS = frozenset(_KEYWORD_TEXT.split())


def identifier(name: str) -> str:
    """A name as a C identifier that is no keyword, of C or C++, and no name of ours."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "v"
    if plain[0].isdigit():
        plain = f"v{plain}"
    reserved = plain in _KEYWORDS or plain.endswith("_t") or plain.lower().startswith("lepton_")
    return f"{plain}_v" if reserved else plain


def comment(text: str) -> str:
    """Text that may stand in a block comment: printable, no comment marks, no trigraphs."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
