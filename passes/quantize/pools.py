"""Means and sums of dequantized tensors: one integer sum, scaled once."""

import math

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Cast
from lepton_cc.ir.ops.integer import Requantize
from lepton_cc.ir.ops.pool import AveragePool
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.accumulator_bound import LIMIT, largest_magnitude
from lepton_cc.passes.quantize.parameters import (
    Dequantized,
    Quantized,
    compressed,
    narrow,
    quantized,
)


def _mean_scale(found: Dequantized, by: Quantized, counts: Array) -> Array:
    """f32(x_scale / f32(y_scale * n)), ONNX Runtime's order."""
    return np.asarray(found.scale / (by.scale * counts.astype(np.float32)), np.float32)


def _summed(rewriter: Rewriter, x: Value, axes: tuple[int, ...], *, keep: bool) -> Value:
    wide = rewriter.emit(Cast(DType.I32), x)
    return rewriter.emit(Reduce(ReduceFunction.SUM, axes, keep), wide, name="sum")


@rule("quantize(mean(dequantize(x))) = requantize(sum(x)); sums alike", Quantize)
def reduction(op: Op, rewriter: Rewriter) -> Replacement:
    """requantize(sum(x) - n z, f32(s / f32(t n))); a sum has n = 1 in the scale."""
    by = quantized(rewriter, op)
    matched = None if by is None else rewriter.match(by.real, Reduce)
    if by is None or matched is None:
        return None
    kind, reduce_op = matched
    found = narrow(rewriter, reduce_op.operands[0])
    if found is None or kind.function not in (ReduceFunction.SUM, ReduceFunction.MEAN):
        return None
    count = math.prod(found.x.type.dims[axis] for axis in kind.axes)
    if count == 0 or not _fits(found, count):
        return None
    total = _summed(rewriter, found.x, kind.axes, keep=kind.keep_dims)
    divisor = count if kind.function is ReduceFunction.MEAN else 1
    return (_scaled(rewriter, total, (found, by), np.asarray(divisor), count * found.zero_point),)


def _fits(found: Dequantized, count: int) -> bool:
    return count * largest_magnitude(found.x.type.dtype, min(0, found.zero_point)) < LIMIT


def _scaled(
    rewriter: Rewriter,
    total: Value,
    between: tuple[Dequantized, Quantized],
    counts: Array,
    zero_point: int,
) -> Value:
    found, by = between
    scale = rewriter.constant(_mean_scale(found, by, counts), name="scale")
    return rewriter.emit(Requantize(by.range, zero_point), total, scale)


@rule("quantize(average_pool(dequantize(x))) = requantize(sum_pool(x))", Quantize)
def average_pool(op: Op, rewriter: Rewriter) -> Replacement:
    """A window over the whole image is a reduction; others sum by a convolution with ones."""
    by = quantized(rewriter, op)
    matched = None if by is None else rewriter.match(by.real, AveragePool)
    if by is None or matched is None:
        return None
    kind, pool_op = matched
    found = narrow(rewriter, pool_op.operands[0])
    taps = math.prod(kind.window.size)
    if found is None or not _fits(found, taps):
        return None
    dims = found.x.type.dims[1:-1]
    if kind.window.size == dims and not any((*kind.window.low, *kind.window.high)):
        axes = tuple(range(1, len(dims) + 1))
        total = _summed(rewriter, found.x, axes, keep=True)
        offset = taps * found.zero_point
        return (_scaled(rewriter, total, (found, by), np.asarray(taps), offset),)
    counts = kind.counts(dims)
    if not np.all(counts > 0):
        return None
    counts = compressed(counts[..., None])
    channels = found.x.type.dims[-1]
    ones = rewriter.constant(np.ones((*kind.window.size, 1, channels), np.int8), name="ones")
    total = rewriter.emit(Conv(kind.window, channels, found.zero_point), found.x, ones, name="sum")
    return (_scaled(rewriter, total, (found, by), np.asarray(counts), 0),)


RULES: tuple[Rule, ...] = (reduction, average_pool)
