"""Rounding integers to the 24 significant bits of a binary32, half to even, by masks."""

from lepton_cc.codegen.kernel.expr import Const, Expr
from lepton_cc.codegen.kernel.types import is_unsigned
from lepton_cc.ir.dtype import DType

SIGNIFICANT_BITS = 24
# The bits to be dropped must fit a word, with one to spare.
MAX_BITS = 55


def significant(x: Expr, num_bits: int) -> Expr:
    """x rounded to 24 significant bits; x is u32, u64 or i64, and |x| is below 2^num_bits.

    A number of n bits loses its lowest n - 24. In two's complement this serves negative numbers
    too: their complement has the length of the magnitude, but for powers of two, where all that
    would be dropped is zero.
    """
    assert num_bits <= MAX_BITS
    assert isinstance(x.type, DType)
    if num_bits <= SIGNIFICANT_BITS:
        return x
    size = x if is_unsigned(x.type) else x ^ (x >> (x.type.bits - 1))
    dropped = (size >> SIGNIFICANT_BITS).cast(DType.U32)
    step = 1
    while step < num_bits - SIGNIFICANT_BITS:
        dropped = dropped | (dropped >> step)
        step *= 2
    # The lowest bit that stays; nothing where none is dropped.
    odd = (x.cast(DType.U32) & (dropped + 1) & 0xFFFFFFFE).differs(0)
    bias = (dropped >> 1) + odd.cast(DType.U32)
    return (x + bias.cast(x.type)) & ~dropped.cast(x.type)


def divided(x: Expr, shift: int) -> Expr:
    """x / 2^shift rounded half to even; x is i32 or i64, and far from its bounds."""
    if shift == 0:
        return x
    odd = (x >> shift) & 1
    return (x + Const(x.type, (1 << (shift - 1)) - 1) + odd) >> shift
