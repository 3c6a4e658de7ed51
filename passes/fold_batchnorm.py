"""Folds scales and shifts of channels into the weights and biases of the contractions beside them.

The frontend gives a batch normalization as x * a + b; after layout propagation it stands right
behind its convolution, with constants of the last dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule, same_type
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass

Combine = Callable[[Array, Array], Array]

_COMBINE: dict[BinaryFunction, Combine] = {
    BinaryFunction.ADD: np.add,
    BinaryFunction.SUB: np.subtract,
    BinaryFunction.MUL: np.multiply,
    BinaryFunction.DIV: np.divide,
}
_SCALES = (BinaryFunction.MUL, BinaryFunction.DIV)
_SHIFTS = (BinaryFunction.ADD, BinaryFunction.SUB)


@dataclass(frozen=True, slots=True)
class FoldBatchnorm(Pass):
    """Multiplies constants after (or before) a contraction into its weights, adds them to its bias.

    Accepts any graph; finds most after layout propagation. Weights are computed in binary64 and
    rounded once, so that results differ by rounding from those before. What is added before a
    contraction folds only where no padding hides the addend from some windows.
    """

    NAME: ClassVar[str] = "fold-batchnorm"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        rules = (scale_after, shift_after, scale_before, shift_before)
        return rewrite(graph, rules, statistics)


@dataclass(frozen=True, slots=True)
class _Contraction:
    """A contraction of a value by constant weights, which may be rewritten."""

    op: Op
    weights: Array
    bias: Array | None

    @property
    def groups(self) -> int:
        """Number of channel groups (1 for a product)."""
        return self.op.kind.groups if isinstance(self.op.kind, Conv | ConvTranspose) else 1

    def scaled_outputs(self, factor: Array, combine: Combine) -> Array:
        """Weights that give outputs combined with one factor a channel."""
        wide = self.weights.astype(np.float64)
        if not isinstance(self.op.kind, ConvTranspose) or self.groups == 1:
            return combine(wide, factor)
        rows, columns = wide.shape[-2:]
        grouped = wide.reshape(*wide.shape[:-2], self.groups, rows // self.groups, columns)
        return combine(grouped, factor.reshape(self.groups, 1, columns)).reshape(wide.shape)

    def scaled_inputs(self, factor: Array, combine: Combine) -> Array:
        """Weights that take inputs combined with one factor a channel."""
        wide = self.weights.astype(np.float64)
        if not isinstance(self.op.kind, Conv) or self.groups == 1:
            return combine(wide, factor[:, None])
        rows, columns = wide.shape[-2:]
        grouped = wide.reshape(*wide.shape[:-1], self.groups, columns // self.groups)
        by_row = factor.reshape(self.groups, rows).T
        return combine(grouped, by_row[:, :, None]).reshape(wide.shape)

    def rebuilt(self, rewriter: Rewriter, x: Value, weights: Array, bias: Array | None) -> Value:
        """The contraction of `x` with these weights and this bias, in its own dtype."""
        dtype = self.weights.dtype
        operands = [x, rewriter.constant(weights.astype(dtype), name=self.op.inputs[1].name)]
        if bias is not None:
            name = self.op.inputs[2].name if self.bias is not None else "bias"
            operands.append(rewriter.constant(bias.astype(dtype), name=name))
        return rewriter.emit(self.op.kind, *operands)


def _contraction(rewriter: Rewriter, op: Op | None) -> _Contraction | None:
    if op is None or not isinstance(op.kind, Conv | ConvTranspose | MatMul):
        return None
    weights = rewriter.constant_array(op.operands[1])
    bias_value = op.operands[2] if len(op.operands) > 2 else None
    bias = rewriter.constant_array(bias_value)
    # Shared weights would have to be stored twice.
    if weights is None or not rewriter.has_single_use(op.inputs[1]):
        return None
    if weights.dtype.kind != "f" or (bias_value is not None and bias is None):
        return None
    return _Contraction(op, weights, bias)


def _affine(
    rewriter: Rewriter, op: Op, functions: tuple[BinaryFunction, ...]
) -> tuple[Value, Array, Combine] | None:
    """(x, c, f) where the op is f(x, c) with a finite constant for each index of the last axis."""
    kind = op.kind
    if not isinstance(kind, Binary) or kind.function not in functions:
        return None
    x, other = op.inputs
    if rewriter.constant_array(other) is None and kind.function in (
        BinaryFunction.ADD,
        BinaryFunction.MUL,
    ):
        x, other = other, x
    constant = rewriter.constant_array(other)
    if constant is None or x.type != op.result.type or x.type.rank == 0:
        return None
    channels = x.type.dims[-1]
    if constant.size != 1 and (constant.size, constant.shape[-1]) != (channels, channels):
        return None
    wide = np.broadcast_to(constant.astype(np.float64).reshape(-1), (channels,))
    return (x, wide, _COMBINE[kind.function]) if np.all(np.isfinite(wide)) else None


@rule("contraction(x, w, b) * a = contraction(x, w * a, b * a)", Binary)
def scale_after(op: Op, rewriter: Rewriter) -> Replacement:
    """Division by constants divides weights and bias."""
    found = _affine(rewriter, op, _SCALES)
    if found is None or np.any(found[1] == 0):
        return None
    product, factor, combine = found
    contraction = _single_use_contraction(rewriter, product)
    if contraction is None:
        return None
    bias = None if contraction.bias is None else combine(contraction.bias, factor)
    weights = contraction.scaled_outputs(factor, combine)
    x = contraction.op.inputs[0]
    return same_type(op, contraction.rebuilt(rewriter, x, weights, bias))


@rule("contraction(x, w, b) + c = contraction(x, w, b + c)", Binary)
def shift_after(op: Op, rewriter: Rewriter) -> Replacement:
    found = _affine(rewriter, op, _SHIFTS)
    if found is None:
        return None
    product, addend, combine = found
    contraction = _single_use_contraction(rewriter, product)
    if contraction is None:
        return None
    bias = combine(np.zeros(()) if contraction.bias is None else contraction.bias, addend)
    x = contraction.op.inputs[0]
    return same_type(op, contraction.rebuilt(rewriter, x, contraction.weights, bias))


def _single_use_contraction(rewriter: Rewriter, value: Value) -> _Contraction | None:
    contraction = _contraction(rewriter, rewriter.producer(value))
    if contraction is None or not rewriter.has_single_use(value):
        return None
    rewriter.match(value, type(contraction.op.kind))
    return contraction


@rule("contraction(x * a, w, b) = contraction(x, a * w, b)", Conv, ConvTranspose, MatMul)
def scale_before(op: Op, rewriter: Rewriter) -> Replacement:
    """Padding stays zero under a factor."""
    return _folded_before(op, rewriter, _SCALES)


@rule("contraction(x + c, w, b) = contraction(x, w, b + c w)", Conv, ConvTranspose, MatMul)
def shift_before(op: Op, rewriter: Rewriter) -> Replacement:
    kind = op.kind
    if isinstance(kind, ConvTranspose) or (
        isinstance(kind, Conv) and any((*kind.window.low, *kind.window.high))
    ):
        return None
    if isinstance(kind, MatMul) and op.inputs[1].type.rank != 2:
        return None
    return _folded_before(op, rewriter, _SHIFTS)


def _folded_before(
    op: Op, rewriter: Rewriter, functions: tuple[BinaryFunction, ...]
) -> Replacement:
    contraction = _contraction(rewriter, op)
    producer = rewriter.producer(op.inputs[0])
    if contraction is None or producer is None or not rewriter.has_single_use(op.inputs[0]):
        return None
    found = _affine(rewriter, producer, functions)
    if found is None:
        return None
    x, constant, combine = found
    rewriter.match(op.inputs[0], Binary)
    if functions is _SCALES:
        if np.any(constant == 0):
            return None
        weights = contraction.scaled_inputs(constant, combine)
        return same_type(op, contraction.rebuilt(rewriter, x, weights, contraction.bias))
    taps = tuple(range(contraction.weights.ndim - 1))
    addend = np.sum(contraction.scaled_inputs(constant, np.multiply), axis=taps)
    bias = combine(np.zeros(()) if contraction.bias is None else contraction.bias, addend)
    return same_type(op, contraction.rebuilt(rewriter, x, contraction.weights, bias))
