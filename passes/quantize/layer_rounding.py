"""One layer's weights rounded for the least error of its results: what `--method` chooses.

The layer reads x, which the layers before it have rounded; in floats it read y. Its weights are
first moved to those that make the most of x (least squares, pulled towards the weights that it
has), then rounded; its bias takes up the mean of what is left.
"""

import enum
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.adaptive_rounding import round_adaptively
from lepton_cc.passes.quantize.column_solve import (
    best_scales,
    descend,
    quadratic_error,
    solve_columns,
    steps_of_rows,
)
from lepton_cc.passes.quantize.layer_moments import (
    LayerMoments,
    grouped_weights,
    ungrouped_weights,
)
from lepton_cc.passes.quantize.least_squares import adapted_weights
from lepton_cc.passes.quantize.weight_rounding import (
    QuantizedWeights,
    RoundedLayer,
    quantize_blocks,
    quantize_weights,
    smallest_scales,
)

DEFAULT_DAMPING = 0.1
# Layers with fewer zeros were not pruned: theirs are as good as any number.
_PRUNED = 0.1
_CLIP_RATIOS = np.linspace(1.0, 0.5, 21)


class Rounding(enum.Enum):
    """How weights are rounded."""

    PLAIN = "plain"
    GPTQ = "gptq"
    ADAROUND = "adaround"


@dataclass(frozen=True, slots=True)
class LayerError:
    """Squared error of a layer's results by its share of their square: to nearest, and as solved.

    Both are measured against the best that the layer could do with what it reads.
    """

    to_nearest: float
    solved: float


@dataclass(frozen=True, slots=True)
class LayerProblem:
    """A contraction with what is known about it; `x_scale` is the step of what it reads.

    damping: how much its weights are pulled towards what they are, as a share of the mean square of
    what they are multiplied with. block: rows that share a scale, 0 for all of them.
    """

    op: Op
    weights: Array
    bias: Array | None
    x_scale: np.float32
    dtype: DType
    moments: LayerMoments
    damping: float = DEFAULT_DAMPING
    block: int = 0

    @property
    def bounds(self) -> tuple[int, int]:
        """The integers that a weight may become."""
        low, high = integer_bounds(self.dtype)
        return (-high, high) if self.dtype.bits >= 8 else (low, high)

    @property
    def original(self) -> Array:
        """The weights as f64[G, K, O]."""
        return grouped_weights(self.op, self.weights.astype(np.float64))

    @property
    def kept(self) -> Array | None:
        """Weights that may be other than 0, bool[G, K, O]; None if the layer was not pruned."""
        found = self.original != 0
        return None if found.mean() > 1 - _PRUNED else np.asarray(found)


def round_layer(
    problem: LayerProblem, method: Rounding, *, correct_bias: bool
) -> tuple[RoundedLayer, LayerError]:
    """Integer weights with their scales, and what the bias takes up, f64[O]."""
    moments, original = problem.moments, problem.original
    used = moments.centered() if correct_bias else moments
    target, gram = adapted_weights(original, used, problem.damping, problem.kept)
    scales = _scales(problem, target, gram)
    integers = _solved(problem, target, gram, scales)
    if method is Rounding.ADAROUND and problem.dtype.bits < 8:
        learned = round_adaptively(target, gram, scales, problem.bounds, problem.kept)
        learned = descend(learned, target, gram, scales, problem.bounds, problem.kept)
        integers = _better(learned, integers, target, gram, scales)
    solved = integers * steps_of_rows(scales, target)
    shift: Array | None = None
    if correct_bias:
        before = np.einsum("gk,gko->go", moments.mean_y, original)
        shift = (before - np.einsum("gk,gko->go", moments.mean_x, solved)).reshape(-1)
    error = _error(problem, target, solved, used.gram)
    return RoundedLayer(_packed(problem, integers, scales), shift), error


def _packed(problem: LayerProblem, integers: Array, scales: Array) -> QuantizedWeights:
    shape = problem.weights.shape
    typed = ungrouped_weights(integers, shape).astype(np.int8).astype(problem.dtype.numpy)
    if not problem.block:
        return QuantizedWeights(typed, scales.reshape(-1).astype(np.float32))
    by_block = scales[0, :: problem.block, None, :].astype(np.float32)
    return QuantizedWeights(typed.reshape(len(by_block), problem.block, -1), by_block)


def _better(one: Array, other: Array, target: Array, gram: Array, scales: Array) -> Array:
    """Of two solutions the one that errs less, for each output."""
    errors = [
        quadratic_error(integers * steps_of_rows(scales, target) - target, gram)
        for integers in (one, other)
    ]
    return np.where((errors[0] < errors[1])[:, None, :], one, other)


def _error(problem: LayerProblem, target: Array, solved: Array, gram: Array) -> LayerError:
    weights, dtype = problem.weights, problem.dtype
    if problem.block:
        nearest = quantize_blocks(weights, dtype, problem.block)
    else:
        nearest = quantize_weights(weights, dtype, np.zeros(weights.shape[-1]))
    signal = float(quadratic_error(target, gram).sum()) or 1.0
    to_nearest = grouped_weights(problem.op, nearest.reals.reshape(weights.shape)) - target
    return LayerError(
        float(quadratic_error(to_nearest, gram).sum()) / signal,
        float(quadratic_error(solved - target, gram).sum()) / signal,
    )


def _solved(problem: LayerProblem, target: Array, gram: Array, scales: Array) -> Array:
    kept, bounds = problem.kept, problem.bounds
    integers = solve_columns(target, gram, scales, bounds, kept)
    return descend(integers, target, gram, scales, bounds, kept)


def _scales(problem: LayerProblem, target: Array, gram: Array) -> Array:
    """Steps f64[G, O] that are binary32 numbers: of all the range, or tried at 4 bits.

    In blocks: f64[G, K, O], each the best for its block alone.
    """
    if problem.block:
        squares = np.einsum("gkk->gk", gram)[0][:, None]
        found = quantize_blocks(target[0], problem.dtype, problem.block, squares)
        return np.repeat(found.scales.astype(np.float64), problem.block, axis=1).reshape(
            target.shape
        )
    low, high = problem.bounds
    whole = np.maximum(target.min(axis=1) / low, target.max(axis=1) / high)
    smallest = smallest_scales(problem.bias, problem.x_scale, problem.op.result.type.dims[-1])
    whole = np.maximum(whole, 2 * smallest.reshape(whole.shape))
    whole = np.where(whole > 0, whole, 1.0)
    if problem.dtype.bits < 8:
        whole = best_scales(target, gram, whole, _CLIP_RATIOS, problem.bounds, problem.kept)
    return np.asarray(whole.astype(np.float32).astype(np.float64))
