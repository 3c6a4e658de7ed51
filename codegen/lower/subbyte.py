"""Constants of 4 and 2 bits as kernels read them: two or four elements share a byte.

Neighbouring *rows* share bytes, never neighbours in a row, so that a vector along a row is still
one load: byte (r // n, c) holds elements (n r' + place, c), the first in the lowest bits.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from lepton_cc.codegen.kernel.expr import Binary, BinaryOp, Const, Expr, NarrowingCast, index, load
from lepton_cc.codegen.kernel.math.integer import byte_type
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.source import Index, Source, linearize
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

# Smaller constants keep a byte for each element: unpacking is a few hundred bytes of code in every
# contraction, measured on rv32imc, and slower.
SMALLEST_PACKED = 1024
# With fewer rows than this, filling up the last byte of each column would cost too much.
_MANY_ROWS = 8


def elements_a_byte(dtype: DType) -> int:
    """How many elements of a type share a byte of a constant: 1 but for narrow integers."""
    return 8 // dtype.bits if dtype.is_integer and dtype.bits < 8 else 1


def stored_elements(content: Array) -> Array:
    """The content as it goes into flash: of its own type if it is to be packed, else in bytes."""
    dtype = DType.from_numpy(content.dtype)
    if elements_a_byte(dtype) == 1 or content.size >= SMALLEST_PACKED:
        return content
    return content.astype(byte_type(dtype).numpy)


def packed_rows(rows: Array, bits: int) -> Array:
    """Integers [rows, columns] of so many bits as bytes [ceil(rows * bits / 8), columns].

    Missing rows are zeros. The bytes are i8, or u8 for unsigned elements.
    """
    count = 8 // bits
    signed = DType.from_numpy(rows.dtype).is_signed_integer
    elements = rows.astype(np.int8 if signed else np.uint8).view(np.uint8) & ((1 << bits) - 1)
    whole = np.pad(elements, ((0, -len(rows) % count), (0, 0)))
    packed = np.zeros((len(whole) // count, rows.shape[1]), np.uint8)
    for place in range(count):
        packed |= whole[place::count] << (bits * place)
    return packed.view(np.int8) if signed else packed


def split(number: Expr, count: int) -> tuple[Expr, Expr]:
    """(number // count, number % count) of an index that is not negative.

    The remainder is a constant where the form of the expression tells it.
    """
    known = _split(number, count)
    if known is None:
        return number // count, number % count
    return known[0], index(known[1])


def _split(number: Expr, count: int) -> tuple[Expr, int] | None:
    if isinstance(number, Const):
        quotient, rest = divmod(int(number.value), count)
        return index(quotient), rest
    if not isinstance(number, Binary) or number.op not in (BinaryOp.ADD, BinaryOp.MUL):
        return None
    lhs, rhs = _split(number.lhs, count), _split(number.rhs, count)
    if number.op is BinaryOp.ADD:
        if lhs is None or rhs is None:
            return None
        carry, rest = divmod(lhs[1] + rhs[1], count)
        return lhs[0] + rhs[0] + carry, rest
    if not isinstance(number.rhs, Const):
        return None
    factor = int(number.rhs.value)
    if lhs is not None:
        carry, rest = divmod(lhs[1] * factor, count)
        return lhs[0] * factor + carry, rest
    return (number.lhs * (factor // count), 0) if factor % count == 0 else None


def unpacked(byte: Expr, place: Expr, dtype: DType) -> Expr:
    """The element at a place of a byte."""
    offset = (place * dtype.bits).cast(DType.I32)
    word = byte.cast(DType.I32)
    if dtype.is_unsigned_integer:
        return NarrowingCast(dtype, (word >> offset) & ((1 << dtype.bits) - 1))
    above = 32 - dtype.bits
    return NarrowingCast(dtype, (word << (Const(DType.I32, above) - offset)) >> above)


def _source_of_bytes(type_: TensorType, buffer: Callable[[], Buffer]) -> Source:
    def linear(number: Expr) -> Expr:
        return NarrowingCast(type_.dtype, load(buffer(), number).cast(DType.I32))

    return Source(type_, lambda at: linear(linearize(at, type_.dims)), linear)


def packed_source(type_: TensorType, content: Array, constant: Callable[[Array], Buffer]) -> Source:
    """A constant operand of narrow integers; its rows run along the last dimension.

    Small ones are not packed (`stored_elements`).
    """
    stored = stored_elements(content)
    if stored is not content:
        return _source_of_bytes(type_, lambda: constant(stored))
    count = elements_a_byte(type_.dtype)
    dims = type_.dims
    rows, width = math.prod(dims[:-1]), dims[-1] if dims else 1
    in_rows = rows % count == 0 or rows >= _MANY_ROWS
    shape = (rows, width) if in_rows else (rows * width, 1)

    @cache
    def buffer() -> Buffer:
        return constant(packed_rows(content.reshape(shape), type_.dtype.bits))

    def element(number: Expr, column: Expr) -> Expr:
        row, place = split(number, count)
        return unpacked(load(buffer(), row * shape[1] + column), place, type_.dtype)

    def at(position: Index) -> Expr:
        if in_rows:
            return element(linearize(position[:-1], dims[:-1]), position[-1])
        return element(linearize(position, dims), index(0))

    return Source(type_, at)
