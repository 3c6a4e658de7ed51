"""The MSE method: the range whose integers are nearest to what was seen, in the mean square."""

import numpy as np

from lepton_cc.calibration.histogram import HistogramObserver
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval

_NUM_STEPS = 255
_RATIOS = np.linspace(1.0, 0.2, 81)
_ROUNDS = 3


class MeanSquaredErrorObserver(HistogramObserver):
    """Least sum of rounding errors (step^2 / 12 each) and of squared distances cut off."""

    def interval(self) -> Interval:
        """Shrinks the upper bound, then the lower one, in turns, as long as the error falls."""
        seen = self._histogram.interval.with_zero()
        centers, counts = self._used()
        low, high = seen.low, seen.high
        for _ in range(_ROUNDS):
            high = _best([(low, seen.high * r) for r in _RATIOS], centers, counts)[1]
            low = _best([(seen.low * r, high) for r in _RATIOS], centers, counts)[0]
        return Interval(low, high)


def _best(
    candidates: list[tuple[float, float]], centers: Array, counts: Array
) -> tuple[float, float]:
    """The candidate with the least error, the first of equal ones."""
    bounds = np.asarray(candidates)
    low, high = bounds[:, :1], bounds[:, 1:]
    distance = np.maximum(centers - high, 0.0) + np.maximum(low - centers, 0.0)
    inside = (distance == 0) @ counts
    step = (high - low)[:, 0] / _NUM_STEPS
    errors = inside * step * step / 12 + (distance * distance) @ counts
    return candidates[int(np.argmin(errors))]
