"""Functions of one 16-bit tensor become interpolated tables; softmax of one becomes integers.

A table of all 65,536 values would be too large for the chips that are meant; straight lines are
taken that are nowhere more than one step off what the float ops give.
"""

import math

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.fixed_point import divided, interpolated
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.ops.wide_functions import EXPONENTIAL_FRACTION, InterpolatedTable, WideSoftmax
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.quantize.parameters import narrow, quantized
from lepton_cc.passes.quantize.tables import values_of_chain

_WORDS = (DType.I16, DType.U16)
# Unsigned bytes become signed ones first.
_RESULTS = (DType.I8, *_WORDS)
_FEWEST_BITS, _MOST_BITS = 4, 12
# What entries stay below, and their bits behind the point.
_FAR = 1 << 29
_FRACTION = 8
# The share of results within the bounds that may be a step off, if more lines help.
_OFF = 0.01


@rule("quantize(f(dequantize(x))) = interpolated_table(x) of 16 bits", Quantize)
def tabulate_words(op: Op, rewriter: Rewriter) -> Replacement:
    """Any chain or tree of pointwise ops, if straight lines come within a step of it."""
    dtype = op.result.type.dtype
    by = quantized(rewriter, op)
    found = values_of_chain(rewriter, op, _WORDS) if dtype in _RESULTS else None
    if found is None or by is None:
        return None
    source, reals, values = found
    low, high = integer_bounds(dtype)
    with np.errstate(all="ignore"):
        ratios = np.nan_to_num(np.asarray(reals, np.float32) / by.scale).astype(np.float64)
    shifted = (ratios + by.range.zero_point) * 2.0**_FRACTION
    free = np.rint(np.clip(shifted, -_FAR, _FAR)).astype(np.int64)
    entries = straight_lines(values.astype(np.int64), free, low, high)
    if entries is None:
        return None
    table = Tensor(entries.astype(_entries_type(entries).numpy))
    return (rewriter.emit(InterpolatedTable(table, _FRACTION, by.range), source),)


def _entries_type(entries: Array) -> DType:
    for dtype in _WORDS:
        low, high = integer_bounds(dtype)
        if low <= entries.min() and entries.max() <= high:
            return dtype
    return DType.I32


def straight_lines(values: Array, free: Array, low: int, high: int) -> Array | None:
    """The fewest entries that come close to all 65,536 values; None if 4,097 are too few.

    `free` are the values in steps of 2^-_FRACTION, before they were rounded and clamped to
    low..high; entries are taken of them, so that saturation makes no corners. Close is nowhere more
    than a step off, and nearly nowhere a step. The last entry continues the line through the last
    interval, so that the highest value is met.
    """
    found: Array | None = None
    inside = int(np.count_nonzero((low < values) & (values < high)))
    for bits in range(_FEWEST_BITS, _MOST_BITS + 1):
        entries = _entries(free, 1 << (16 - bits))
        lines = interpolated(entries, np.arange(values.size), 16 - bits)
        off = np.abs(np.clip(divided(lines, _FRACTION), low, high) - values)
        if off.max() > 1:
            continue
        if off.sum() <= _OFF * inside:
            return entries
        found = entries
    return found


def _entries(free: Array, step: int) -> Array:
    first, last = int(free[-step]), int(free[-1])
    end = first + round((last - first) * step / (step - 1))
    return np.append(free[::step], max(-_FAR, min(end, _FAR)))


@rule("quantize(softmax(dequantize(x))) = wide_softmax(x) of 16 bits", Quantize)
def softmax_of_words(op: Op, rewriter: Rewriter) -> Replacement:
    by = quantized(rewriter, op)
    matched = None if by is None else rewriter.match(by.real, Softmax)
    if by is None or matched is None or by.range.dtype is DType.U8:
        return None
    kind, softmax_op = matched
    found = narrow(rewriter, softmax_op.operands[0])
    if found is None or kind.log or found.x.type.dtype not in _WORDS:
        return None
    coarse, fine = exponential_tables(found.scale)
    # As many bits as keep the multiplier, 1 in steps of the result, below 2^30.
    exponent = math.frexp(1 / float(by.scale))[1]
    shift = EXPONENTIAL_FRACTION + 30 - exponent
    if found.x.type.num_elements == 0 or not 0 <= shift <= 61:
        return None
    multiplier = round(2.0 ** (30 - exponent) / float(by.scale))
    wide = WideSoftmax(kind.axis, coarse, fine, multiplier, shift, by.range)
    return (rewriter.emit(wide, found.x),)


def exponential_tables(scale: np.float32) -> tuple[Tensor, Tensor]:
    """exp(-256 d scale) and exp(-d scale) for d = 0..255, in steps of 2^-30."""
    one = 2.0**EXPONENTIAL_FRACTION
    coarse, fine = (
        np.rint(np.exp(-np.arange(256) * np.float64(scale) * step) * one).astype(np.int32)
        for step in (256, 1)
    )
    return Tensor(coarse), Tensor(fine)


RULES: tuple[Rule, ...] = (tabulate_words, softmax_of_words)
