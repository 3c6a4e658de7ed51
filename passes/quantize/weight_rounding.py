"""Constant weights to symmetric integers: a scale for each output channel, the last axis."""

import enum
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.tensor import Array

# Weights of fewer elements keep a byte each in flash whatever their type is, so that 4 bits would
# lose accuracy for nothing.
SMALLEST_NARROW = 1024
# Fractions of the largest magnitude at which 4-bit weights are tried to be cut off.
_CLIP_RATIOS = np.linspace(1.0, 0.4, 61)
# A bias stays below 2^30 steps, so that its sum with products stays an i32.
_LARGEST_BIAS = float(1 << 30)


class WeightScheme(enum.Enum):
    """How wide quantized weights and activations are."""

    W8A8 = "w8a8"
    W4A8 = "w4a8"
    W8A16 = "w8a16"
    W4A16 = "w4a16"

    @property
    def has_narrow_weights(self) -> bool:
        """True if large weight tensors have 4 bits."""
        return self in (WeightScheme.W4A8, WeightScheme.W4A16)

    @property
    def with_wide_weights(self) -> "WeightScheme":
        """The scheme with the same activations and 8-bit weights."""
        wide = self.activations is DType.I16
        return WeightScheme.W8A16 if wide else WeightScheme.W8A8

    @property
    def activations(self) -> DType:
        """The integers of activations."""
        wide = self in (WeightScheme.W8A16, WeightScheme.W4A16)
        return DType.I16 if wide else DType.I8

    def dtype(self, num_elements: int) -> DType:
        """The integers of a weight tensor."""
        narrow = self.has_narrow_weights and num_elements >= SMALLEST_NARROW
        return DType.I4 if narrow else DType.I8


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """real = integer * scale of its column; integers [..., C], scales f32[C].

    In blocks of rows: integers [N, B, C], scales f32[N, 1, C].
    """

    integers: Array
    scales: Array

    @property
    def reals(self) -> Array:
        """What the integers stand for, in binary64."""
        return np.asarray(self.integers.astype(np.float64) * self.scales.astype(np.float64))


@dataclass(frozen=True, slots=True)
class RoundedLayer:
    """Weights of a contraction that were rounded beforehand, and what its bias takes up, f64[O]."""

    weights: QuantizedWeights
    bias_shift: Array | None


def quantize_weights(
    weights: Array, dtype: DType, smallest_scales: Array, importance: Array | None = None
) -> QuantizedWeights:
    """Rounds weights [..., C] to the nearest integers of `dtype`.

    8-bit scales are the largest magnitude over 127. Narrower ones are the scales with the least
    squared error, each element's weighed by `importance` (broadcasts to the weights: the mean
    square of what it is multiplied with). No scale is below `smallest_scales` [C].
    """
    wide = weights.astype(np.float64).reshape(-1, weights.shape[-1])
    low, high = integer_bounds(dtype)
    largest = np.abs(wide).max(axis=0, initial=0.0)
    if dtype.bits >= 8:
        # The lowest integer is left out: magnitudes are the same on both sides.
        low, scales = -high, largest / high
    else:
        importances = np.ones_like(wide)
        if importance is not None:
            importances = np.broadcast_to(importance, weights.shape).reshape(wide.shape)
        scales = _least_squares_scales(wide, importances, (low, high))
    scales = np.where(largest > 0, np.maximum(scales, smallest_scales), 1.0).astype(np.float32)
    integers = np.clip(np.rint(wide / scales.astype(np.float64)), low, high)
    typed = integers.astype(np.int8).astype(dtype.numpy).reshape(weights.shape)
    return QuantizedWeights(typed, scales)


def quantize_blocks(
    weights: Array, dtype: DType, block: int, importance: Array | None = None
) -> QuantizedWeights:
    """Rounds weights [K, C] with a scale for each column of every `block` rows."""
    depth, columns = weights.shape
    shape = (depth // block, block, columns)

    def as_columns(array: Array) -> Array:
        return np.asarray(array.reshape(shape).transpose(1, 0, 2).reshape(block, -1))

    weighed_by = None
    if importance is not None:
        weighed_by = as_columns(np.broadcast_to(importance, weights.shape))
    flat = as_columns(weights)
    found = quantize_weights(flat, dtype, np.zeros(flat.shape[-1]), weighed_by)
    integers = found.integers.reshape(block, shape[0], columns).transpose(1, 0, 2)
    return QuantizedWeights(
        np.ascontiguousarray(integers), found.scales.reshape(shape[0], 1, columns)
    )


def fitting_block(depth: int, block: int) -> int:
    """The divisor of `depth` that is nearest to `block`, by their ratio."""
    divisors = [size for size in range(1, depth + 1) if depth % size == 0]
    return min(divisors, key=lambda size: (max(size / block, block / size), size))


def _least_squares_scales(wide: Array, importances: Array, bounds: tuple[int, int]) -> Array:
    low, high = bounds
    # The wider side of the integers may serve the wider side of the weights only if it is negative.
    whole = np.maximum(-wide.min(axis=0) / -low, wide.max(axis=0) / high)
    whole = np.where(whole > 0, whole, 1.0)
    best, scales = np.full(whole.shape, np.inf), whole
    for ratio in _CLIP_RATIOS:
        tried = whole * ratio
        error = np.clip(np.rint(wide / tried), low, high) * tried - wide
        total = np.sum(importances * error * error, axis=0)
        scales = np.where(total < best, tried, scales)
        best = np.minimum(total, best)
    return scales


def smallest_scales(bias: Array | None, x_scale: np.float32, columns: int) -> Array:
    """The weight scales [C] under which a bias would not fit into an i32."""
    if bias is None:
        return np.zeros(columns)
    return np.abs(bias.astype(np.float64)) / (float(x_scale) * _LARGEST_BIAS)
