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
)
from lepton_cc.passes.quantize.layer_moments import (
    LayerMoments,
    grouped_weights,
    ungrouped_weights,
)
from lepton_cc.passes.quantize.weight_rounding import (
    QuantizedWeights,
    RoundedLayer,
    quantize_weights,
    smallest_scales,
)

# Of the mean square of what the weights are multiplied with; more where samples are few.
_DAMPING = 0.1
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
    """A contraction with what is known about it; `x_scale` is the step of what it reads."""

    op: Op
    weights: Array
    bias: Array | None
    x_scale: np.float32
    dtype: DType
    moments: LayerMoments


def round_layer(
    problem: LayerProblem, method: Rounding, *, correct_bias: bool
) -> tuple[RoundedLayer, LayerError]:
    """Integer weights with their scales, and what the bias takes up, f64[O]."""
    op, moments = problem.op, problem.moments
    used = moments.centered() if correct_bias else moments
    original = grouped_weights(op, problem.weights.astype(np.float64))
    gram, ridge = _damped(used)
    target = np.linalg.solve(gram, used.cross @ original + ridge @ original)
    low, high = integer_bounds(problem.dtype)
    if problem.dtype.bits >= 8:
        low = -high
    scales = _scales(problem, target, gram, (low, high))
    integers = solve_columns(target, gram, scales, (low, high))
    integers = descend(integers, target, gram, scales, (low, high))
    if method is Rounding.ADAROUND and problem.dtype.bits < 8:
        integers = round_adaptively(target, gram, scales, (low, high))
    solved = integers * scales[:, None, :]
    nearest = quantize_weights(problem.weights, problem.dtype, np.zeros(problem.weights.shape[-1]))
    signal = float(quadratic_error(target, used.gram).sum()) or 1.0
    error = LayerError(
        float(quadratic_error(grouped_weights(op, nearest.reals) - target, used.gram).sum())
        / signal,
        float(quadratic_error(solved - target, used.gram).sum()) / signal,
    )
    shift: Array | None = None
    if correct_bias:
        before = np.einsum("gk,gko->go", moments.mean_y, original)
        shift = (before - np.einsum("gk,gko->go", moments.mean_x, solved)).reshape(-1)
    shape = problem.weights.shape
    typed = ungrouped_weights(integers, shape).astype(np.int8).astype(problem.dtype.numpy)
    flat_scales = scales.reshape(-1).astype(np.float32)
    return RoundedLayer(QuantizedWeights(typed, flat_scales), shift), error


def _damped(moments: LayerMoments) -> tuple[Array, Array]:
    """The gram matrix with a ridge, and the ridge [G, K, K]."""
    depth = moments.gram.shape[1]
    mean_square = np.einsum("gkk->gk", moments.gram).mean(axis=1)
    share = _DAMPING * max(1.0, depth / max(moments.num_positions, 1))
    strength = np.where(mean_square > 0, share * mean_square, 1.0)
    ridge = strength[:, None, None] * np.eye(depth)
    return moments.gram + ridge, ridge


def _scales(problem: LayerProblem, target: Array, gram: Array, bounds: tuple[int, int]) -> Array:
    """Steps f64[G, O] that are binary32 numbers: of all the range, or tried at 4 bits."""
    low, high = bounds
    whole = np.maximum(target.min(axis=1) / low, target.max(axis=1) / high)
    smallest = smallest_scales(problem.bias, problem.x_scale, problem.op.result.type.dims[-1])
    whole = np.maximum(whole, 2 * smallest.reshape(whole.shape))
    whole = np.where(whole > 0, whole, 1.0)
    if problem.dtype.bits < 8:
        whole = best_scales(target, gram, whole, _CLIP_RATIOS, bounds)
    return np.asarray(whole.astype(np.float32).astype(np.float64))
