"""Functions of one 16-bit tensor become interpolated tables; softmax of one becomes integers.

A table of all 65,536 values would be too large for the chips that are meant; as few straight lines
are taken as are nowhere more than one step off what the float ops give.
"""

import math

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.fixed_point import interpolated
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


@rule("quantize(f(dequantize(x))) = interpolated_table(x) of 16 bits", Quantize)
def tabulate_words(op: Op, rewriter: Rewriter) -> Replacement:
    """Any chain or tree of pointwise ops, if straight lines come within a step of it."""
    dtype = op.result.type.dtype
    found = values_of_chain(rewriter, op, _WORDS) if dtype in _RESULTS else None
    if found is None:
        return None
    source, values = found
    entries = straight_lines(values.astype(np.int64), *integer_bounds(dtype))
    if entries is None:
        return None
    return (rewriter.emit(InterpolatedTable(Tensor(entries.astype(dtype.numpy))), source),)


def straight_lines(values: Array, low: int, high: int) -> Array | None:
    """The fewest entries that come within a step of all 65,536 values; None if 4,097 do not do.

    Entries are the values themselves; the last one continues the line through the last two values
    that are known, so that the highest value is met.
    """
    position = np.arange(values.size)
    for bits in range(_FEWEST_BITS, _MOST_BITS + 1):
        step_bits = 16 - bits
        step = 1 << step_bits
        first, last = int(values[-step]), int(values[-1])
        end = first if step == 1 else first + round((last - first) * step / (step - 1))
        entries = np.append(values[::step], np.clip(end, low, high))
        if np.abs(interpolated(entries, position, step_bits) - values).max() <= 1:
            return entries
    return None


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
