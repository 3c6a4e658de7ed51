"""Sums and products of unsigned tensors become those of signed ones, proved pair by pair.

Their roundings depend on the stored integers, so that moving these by 128 may change a result that
lies next to a tie. Scales and offset may move by some units in the last place to make up for it:
what is taken gives the same for all 65,536 pairs of operands, and where nothing does, sums stay
unsigned.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Range
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.signed import as_signed, as_unsigned, made_unsigned

_SHIFT = 128
# Units in the last place by which scales and the offset are moved, nearest first. The natural
# parameters were right for 349 of 400 random sums, and these for 47 more; of products 388 and 10.
_SCALE_STEPS = 3
_OFFSET_STEPS = 6
# Results nearer than this to a tie are tried first: few, and the only ones that may differ.
_NEAR_TIE = 1e-3


@rule("quantized_add(x + 128, y + 128) = quantized_add(x, y) + 128", QuantizedAdd)
def signed_sum(op: Op, rewriter: Rewriter) -> Replacement:
    assert isinstance(op.kind, QuantizedAdd)
    if op.kind.range.dtype is not DType.U8 or any(v.type.dtype is not DType.U8 for v in op.inputs):
        return None
    # Of two tensors that come as u8, two shifts would be needed to save one.
    if all(made_unsigned(rewriter, x) is None for x in op.inputs):
        return None
    kind = _signed_sum_of(op.kind)
    if kind is None:
        return None
    y = rewriter.emit(kind, *(as_signed(rewriter, x) for x in op.inputs))
    return (as_unsigned(rewriter, y),)


@rule("quantized_mul(x, y) of u8 = quantized_mul(x, y) of i8 + 128", QuantizedMul)
def signed_product(op: Op, rewriter: Rewriter) -> Replacement:
    """Zero points are taken from the factors exactly; one is added to what is not yet rounded."""
    assert isinstance(op.kind, QuantizedMul)
    narrow = all(v.type.dtype in (DType.I8, DType.U8) for v in op.inputs)
    unsigned = [x for x in op.inputs if x.type.dtype is DType.U8]
    if op.kind.range.dtype is not DType.U8 or not narrow:
        return None
    if len(unsigned) == 2 and all(made_unsigned(rewriter, x) is None for x in unsigned):
        return None
    points = [op.kind.lhs_zero_point, op.kind.rhs_zero_point]
    operands = list(op.inputs)
    for number, x in enumerate(op.inputs):
        if x in unsigned:
            operands[number], points[number] = as_signed(rewriter, x), points[number] - _SHIFT
    kind = _signed_product_of(replace(op.kind, lhs_zero_point=points[0], rhs_zero_point=points[1]))
    return None if kind is None else (as_unsigned(rewriter, rewriter.emit(kind, *operands)),)


def _moved(range_: Range) -> Range:
    return Range(DType.I8, range_.zero_point - _SHIFT, range_.low - _SHIFT, range_.high - _SHIFT)


def _pairs() -> tuple[Array, Array]:
    """All pairs of signed operands, [65536] each."""
    lhs, rhs = np.divmod(np.arange(1 << 16), 256) - np.asarray(_SHIFT)
    return lhs, rhs


@functools.lru_cache(maxsize=256)
def _signed_sum_of(kind: QuantizedAdd) -> QuantizedAdd | None:
    lhs, rhs = _pairs()
    (wanted,) = kind.evaluate([lhs + _SHIFT, rhs + _SHIFT])
    exact = kind.lhs_scale * (lhs + _SHIFT) + kind.rhs_scale * (rhs + _SHIFT) + kind.offset
    near = np.abs(exact - np.floor(exact) - 0.5) < _NEAR_TIE
    for found in _sums(kind):
        for taken in (near, np.ones_like(near)):
            (given,) = found.evaluate([lhs[taken], rhs[taken]])
            if np.any(given.astype(np.int64) + _SHIFT != wanted[taken]):
                break
        else:
            return found
    return None


def _sums(kind: QuantizedAdd) -> Iterator[QuantizedAdd]:
    steps = range(-_SCALE_STEPS, _SCALE_STEPS + 1)
    scales = (kind.lhs_scale, kind.rhs_scale)
    for moves in sorted(itertools.product(steps, steps), key=lambda m: (abs(m[0]) + abs(m[1]), m)):
        lhs, rhs = (_stepped(scale, n) for scale, n in zip(scales, moves, strict=True))
        offset = kind.offset + _SHIFT * (lhs + rhs) - _SHIFT
        for n in sorted(range(-_OFFSET_STEPS, _OFFSET_STEPS + 1), key=lambda n: (abs(n), n)):
            yield QuantizedAdd(lhs, rhs, _stepped(offset, n), _moved(kind.range))


@functools.lru_cache(maxsize=256)
def _signed_product_of(kind: QuantizedMul) -> QuantizedMul | None:
    """The product of the same factors, its result less 128."""
    lhs, rhs = _pairs()
    (wanted,) = kind.evaluate([lhs, rhs])
    for n in sorted(range(-_OFFSET_STEPS, _OFFSET_STEPS + 1), key=lambda n: (abs(n), n)):
        found = replace(kind, scale=_stepped(kind.scale, n), range=_moved(kind.range))
        (given,) = found.evaluate([lhs, rhs])
        if np.array_equal(given.astype(np.int64) + _SHIFT, wanted):
            return found
    return None


def _stepped(value: float, steps: int) -> float:
    """The binary32 so many units in the last place from the one nearest to a value."""
    found = np.float32(value)
    for _ in range(abs(steps)):
        found = np.nextafter(found, np.float32(np.copysign(np.inf, steps)))
    return float(found)


RULES: tuple[Rule, ...] = (signed_sum, signed_product)
