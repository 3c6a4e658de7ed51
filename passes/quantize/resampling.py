"""Linear (and cubic) resizing of dequantized tensors: weighted integer sums, scaled once.

Each Resample becomes a sum of gathers times integer weights, its own in units of 2^-FRACTION; those
of one output element sum to the same as the float ones, rounded to that unit. Common factors are
divided out, so that sums often fit 16 bits.
"""

import itertools
import math
import operator
from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer import Requantize
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.accumulator_bound import LIMIT, largest_magnitude
from lepton_cc.passes.quantize.parameters import narrow, quantized

# Two axes of 2^11 and a byte stay below 2^31.
FRACTION = 11


@dataclass(frozen=True, slots=True)
class _Axis:
    """One Resample: along which axis, from where, with which integer weights, both [O, taps]."""

    axis: int
    indices: Array
    weights: Array

    @property
    def unit(self) -> int:
        """What the weights of an output element sum to."""
        return int(self.weights[0].sum())

    @property
    def gain(self) -> int:
        """How much larger than its operands a sum may be."""
        return int(np.abs(self.weights.astype(np.int64)).sum(axis=1).max())


def integer_weights(weights: Array) -> Array:
    """Weights in units of 2^-FRACTION; the largest of each row takes what rounding left over."""
    exact = weights.astype(np.float64) * (1 << FRACTION)
    rounded = np.rint(exact).astype(np.int64)
    left = np.rint(exact.sum(axis=1)).astype(np.int64) - rounded.sum(axis=1)
    rounded[np.arange(len(rounded)), np.abs(exact).argmax(axis=1)] += left
    return rounded.astype(np.int32)


def _axes(rewriter: Rewriter, value: Value) -> tuple[Value, list[_Axis]] | None:
    """What a chain of Resamples with known tables reads, and the chain, first one first."""
    axes: list[_Axis] = []
    op = rewriter.producer(value)
    while op is not None and isinstance(op.kind, Resample):
        indices, weights = (rewriter.constant_array(v) for v in op.inputs[1:])
        if indices is None or weights is None:
            return None
        axes.insert(0, _Axis(op.kind.axis, indices, integer_weights(weights)))
        rewriter.match(value, Resample)
        value = op.inputs[0]
        op = rewriter.producer(value)
    return (value, axes) if axes else None


@rule("quantize(resample(dequantize(x))) = requantize(integer sums of x)", Quantize)
def resample(op: Op, rewriter: Rewriter) -> Replacement:
    """Where the weights of every output element sum to 1, so that they leave the zero point."""
    by = quantized(rewriter, op)
    chain = None if by is None else _axes(rewriter, by.real)
    if by is None or chain is None:
        return None
    source, axes = chain
    found = narrow(rewriter, source)
    if found is None or not all(_sums_to_one(axis.weights) for axis in axes):
        return None
    axes = _cheapest_first([_reduced(axis) for axis in axes], source)
    bounds = list(
        itertools.accumulate(
            (axis.gain for axis in axes),
            operator.mul,
            initial=largest_magnitude(found.x.type.dtype, 0),
        )
    )
    unit = math.prod(axis.unit for axis in axes)
    if bounds[-1] + abs(found.zero_point) * unit >= LIMIT:
        return None
    total = found.x
    for axis, bound in zip(axes, bounds[1:], strict=True):
        total = _weighted(rewriter, total, axis, DType.I16 if bound < 1 << 15 else DType.I32)
    # A power of two: dividing by it changes no digit of the scale.
    scale = np.asarray(found.scale / by.scale / np.float32(unit), np.float32)
    kind = Requantize(by.range, found.zero_point * unit)
    return (rewriter.emit(kind, total, rewriter.constant(scale, name="scale")),)


def _sums_to_one(weights: Array) -> bool:
    return weights.size > 0 and bool(np.all(weights.sum(axis=1) == 1 << FRACTION))


def _reduced(axis: _Axis) -> _Axis:
    """The smallest integers in the same proportions: twice the size takes 1 and 3, unit 4.

    What they are divided by is a power of two, since rows sum to one, so no rounding changes.
    """
    return replace(axis, weights=axis.weights // np.gcd.reduce(axis.weights, axis=None))


def _cheapest_first(axes: list[_Axis], x: Value) -> list[_Axis]:
    """The axes in the order of their sums, which are exact in any.

    What shrinks goes first. Of what grows the innermost does: reading along it is slow, and the
    last sum, of the most elements and scaled in place, is then of whole rows.
    """
    growth = {axis.axis: len(axis.indices) / x.type.dims[axis.axis] for axis in axes}
    return sorted(axes, key=lambda axis: (growth[axis.axis] >= 1, -axis.axis))


def _weighted(rewriter: Rewriter, x: Value, axis: _Axis, dtype: DType) -> Value:
    """The sum over taps of gathered elements times their weights."""
    shape = (len(axis.indices), *(1,) * (x.type.rank - axis.axis - 1))
    size = x.type.dims[axis.axis]
    total: Value | None = None
    for tap in range(axis.indices.shape[1]):
        if not np.any(axis.weights[:, tap]):
            continue
        indices = rewriter.constant(np.clip(axis.indices[:, tap], 0, size - 1).astype(np.int32))
        factors = axis.weights[:, tap].reshape(shape).astype(dtype.numpy)
        picked = rewriter.emit(Gather(axis.axis), x, indices)
        if picked.type.dtype is not dtype:
            picked = rewriter.emit(Cast(dtype), picked)
        weights = rewriter.constant(factors, name="weights")
        term = rewriter.emit(Binary(BinaryFunction.MUL), picked, weights)
        total = term if total is None else rewriter.emit(Binary(BinaryFunction.ADD), total, term)
    assert total is not None
    return total


RULES: tuple[Rule, ...] = (resample,)
