"""From the range of a value to the scale and zero point of its 8-bit integers."""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds

# Steps below this would make products of scales subnormal; such a tensor is as good as zero.
_SMALLEST_SCALE = np.float32(2.0**-60)


@dataclass(frozen=True, slots=True)
class Interval:
    """The finite reals from `low` to `high` that a value takes."""

    low: float
    high: float

    def with_zero(self) -> "Interval":
        """The smallest interval that holds this one and 0, which padding and relu need exactly."""
        return Interval(min(self.low, 0.0), max(self.high, 0.0))

    def union(self, other: "Interval") -> "Interval":
        """The smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True, slots=True)
class ActivationParameters:
    """real = (integer - zero_point) * scale; the integers are of `dtype`."""

    scale: np.float32
    zero_point: int
    dtype: DType = DType.I8

    @property
    def interval(self) -> Interval:
        """The reals from the lowest integer to the highest."""
        low, high = integer_bounds(self.dtype)
        return Interval(
            (low - self.zero_point) * float(self.scale),
            (high - self.zero_point) * float(self.scale),
        )

    def widened(self, dtype: DType) -> "ActivationParameters":
        """The same range in the finer steps of a wider type."""
        factor = 1 << (dtype.bits - self.dtype.bits)
        scale = np.float32(self.scale / np.float32(factor))
        return ActivationParameters(scale, self.zero_point * factor, dtype)


# Where the range follows from the function: all of it, in steps of a power of two.
UNIT_PARAMETERS = ActivationParameters(np.float32(1 / 256), -128)
SIGNED_UNIT_PARAMETERS = ActivationParameters(np.float32(1 / 128), 0)


def activation_parameters(interval: Interval, dtype: DType = DType.I8) -> ActivationParameters:
    """The parameters that spread the integers over the interval and 0.

    scale = f32((high - low) / (number of integers - 1)); the zero point is rounded half to even.
    An interval without extent gives scale 1.

    Raises:
        ValueError: a bound is not finite, or they are in the wrong order.
    """
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        raise ValueError(f"{interval} is not finite")
    if interval.low > interval.high:
        raise ValueError(f"{interval} is empty")
    wide = interval.with_zero()
    lowest, highest = integer_bounds(dtype)
    if wide.low == wide.high:
        return ActivationParameters(np.float32(1), 0, dtype)
    scale = max(np.float32((wide.high - wide.low) / (highest - lowest)), _SMALLEST_SCALE)
    zero_point = int(np.clip(np.rint(lowest - wide.low / float(scale)), lowest, highest))
    return ActivationParameters(scale, zero_point, dtype)
