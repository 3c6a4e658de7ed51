"""The percentile method: cuts off the smallest and the largest few of a million values."""

import numpy as np

from lepton_cc.calibration.histogram import HistogramObserver
from lepton_cc.passes.quantize.activation_parameters import Interval

DEFAULT_PERCENTILE = 99.999


class PercentileObserver(HistogramObserver):
    """The range that `percentile` per cent of the values other than 0 lie above, and below."""

    def __init__(self, percentile: float = DEFAULT_PERCENTILE) -> None:
        super().__init__()
        self._cut = 1.0 - percentile / 100.0

    def interval(self) -> Interval:
        """The range without the bins that hold nothing but what is cut off."""
        seen = self._histogram.interval
        counts = self._histogram.counts
        total = counts.sum()
        if not total:
            return seen
        below = np.cumsum(counts)
        first = int(np.searchsorted(below, total * self._cut, side="right"))
        last = int(np.searchsorted(below, total * (1.0 - self._cut), side="left"))
        width, start = self._histogram.width, self._histogram.first
        low = max(seen.low, (start + first) * width)
        high = min(seen.high, (start + last + 1) * width)
        return Interval(min(low, high), max(low, high))
