"""Tables of taps for Resize: which input elements make an output element, with which weights.

All in binary64, rounded once by the caller. The formulas are those of ONNX Resize-19.
"""

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


class Coordinates(enum.Enum):
    """How an output coordinate becomes an input coordinate; the value is ONNX's name."""

    HALF_PIXEL = "half_pixel"
    HALF_PIXEL_SYMMETRIC = "half_pixel_symmetric"
    PYTORCH_HALF_PIXEL = "pytorch_half_pixel"
    ALIGN_CORNERS = "align_corners"
    ASYMMETRIC = "asymmetric"
    TF_CROP_AND_RESIZE = "tf_crop_and_resize"


class Interpolation(enum.Enum):
    """How input elements combine; the value is ONNX's name."""

    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"


class Rounding(enum.Enum):
    """Which element is the nearest; the value is ONNX's name."""

    ROUND_PREFER_FLOOR = "round_prefer_floor"
    ROUND_PREFER_CEIL = "round_prefer_ceil"
    FLOOR = "floor"
    CEIL = "ceil"


@dataclass(frozen=True, slots=True)
class AxisResize:
    """One axis: its input and output size, the scale, and the region of interest in [0, 1]."""

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    def coordinates(self, mode: Coordinates) -> Reals:
        """The input coordinate of each output element."""
        x = np.arange(self.out, dtype=np.float64)
        length = self.scale * self.size
        if mode is Coordinates.ASYMMETRIC:
            return x / self.scale
        if mode is Coordinates.ALIGN_CORNERS:
            return np.zeros(self.out) if length == 1 else x * (self.size - 1) / (length - 1)
        if mode is Coordinates.TF_CROP_AND_RESIZE:
            start, end = self.roi
            if length == 1:
                return np.full(self.out, (start + end) * (self.size - 1) / 2)
            return start * (self.size - 1) + x * (end - start) * (self.size - 1) / (length - 1)
        if mode is Coordinates.PYTORCH_HALF_PIXEL and length == 1:
            return np.full(self.out, -0.5)
        half_pixel: Reals = (x + 0.5) / self.scale - 0.5
        if mode is Coordinates.HALF_PIXEL_SYMMETRIC:
            half_pixel = half_pixel + self.size / 2 * (1 - self.out / length)
        return half_pixel


@dataclass(frozen=True, slots=True)
class TapTable:
    """indices and weights, both [out, taps]; indices lie in the input."""

    indices: Integers
    weights: Reals

    @property
    def is_gather(self) -> bool:
        """True if each output element is one input element."""
        return self.indices.shape[1] == 1 and bool(np.all(self.weights == 1))


def nearest_table(axis: AxisResize, x: Reals, rounding: Rounding) -> TapTable:
    """One tap for each output element."""
    nearest = {
        Rounding.FLOOR: np.floor(x),
        Rounding.CEIL: np.ceil(x),
        Rounding.ROUND_PREFER_FLOOR: np.ceil(x - 0.5),
        Rounding.ROUND_PREFER_CEIL: np.floor(x + 0.5),
    }[rounding]
    indices = np.clip(nearest, 0, axis.size - 1).astype(np.int64).reshape(-1, 1)
    return TapTable(indices, np.ones(indices.shape))


def _cubic_kernel(distance: Reals, a: float) -> Reals:
    """Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981)."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def interpolation_table(
    axis: AxisResize,
    x: Reals,
    mode: Interpolation,
    *,
    antialias: bool,
    cubic_a: float,
    exclude_outside: bool,
) -> TapTable:
    """Linear or cubic taps around each coordinate; beyond the edge the edge repeats.

    With `antialias` the kernel is stretched by 1 / scale when the axis shrinks. With
    `exclude_outside` taps beyond the edge do not count.
    """
    scale = min(axis.scale, 1.0) if antialias else 1.0
    radius = math.ceil((1 if mode is Interpolation.LINEAR else 2) / scale)
    base = np.floor(x)
    positions = base.reshape(-1, 1) + np.arange(1 - radius, radius + 1)
    distance = (positions - x.reshape(-1, 1)) * scale
    if mode is Interpolation.LINEAR:
        weights = np.clip(1 - np.abs(distance), 0, 1)
    else:
        weights = _cubic_kernel(distance, cubic_a)
    if antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    if exclude_outside:
        weights = np.where((positions >= 0) & (positions < axis.size), weights, 0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    indices = np.clip(positions, 0, axis.size - 1).astype(np.int64)
    return compact(TapTable(indices, weights))


def compact(table: TapTable) -> TapTable:
    """The same sums with the fewest taps: equal indices merged, zero weights dropped."""
    rows = []
    for indices, weights in zip(table.indices, table.weights, strict=True):
        taps: dict[int, float] = {}
        for index, weight in zip(indices.tolist(), weights.tolist(), strict=True):
            taps[index] = taps.get(index, 0.0) + weight
        rows.append([(index, weight) for index, weight in taps.items() if weight] or [(0, 0.0)])
    width = max((len(row) for row in rows), default=1)
    padded = [row + [(row[-1][0], 0.0)] * (width - len(row)) for row in rows]
    both = np.asarray(padded, np.float64).reshape(len(rows), width, 2)
    return TapTable(both[..., 0].astype(np.int64), both[..., 1])
