"""The entropy method: the range that keeps most of the distribution's information.

Least Kullback-Leibler divergence between the values seen and the integers that stand for them
(Migacz, 8-bit Inference with TensorRT, 2017), for each side of an asymmetric range.
"""

import numpy as np

from lepton_cc.calibration.histogram import HistogramObserver
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval

_NUM_INTEGERS = 256
_RATIOS = np.linspace(1.0, 0.2, 81)


class EntropyObserver(HistogramObserver):
    """Least divergence over ranges that shrink from the whole one."""

    def interval(self) -> Interval:
        """Shrinks the upper bound, then the lower one."""
        seen = self._histogram.interval.with_zero()
        centers, counts = self._used()
        if not counts.size:
            return seen
        uppers = [Interval(seen.low, seen.high * ratio) for ratio in _RATIOS]
        upper = min(uppers, key=lambda one: _divergence(one, centers, counts))
        lowers = [Interval(seen.low * ratio, upper.high) for ratio in _RATIOS]
        return min(lowers, key=lambda one: _divergence(one, centers, counts))


def _divergence(interval: Interval, centers: Array, counts: Array) -> float:
    """KL(P || Q): P has what is cut off at its ends, Q does not, as the integers spread it."""
    extent = interval.high - interval.low
    if extent <= 0:
        return float("inf")
    inside = (centers >= interval.low) & (centers <= interval.high)
    if not inside.any():
        return float("inf")
    kept = counts[inside]
    truth = kept.copy()
    truth[0] += counts[centers < interval.low].sum()
    truth[-1] += counts[centers > interval.high].sum()
    steps = (centers[inside] - interval.low) / extent * (_NUM_INTEGERS - 1)
    integers = np.rint(steps).astype(np.int64)
    totals = np.bincount(integers, weights=kept, minlength=_NUM_INTEGERS)
    shares = np.bincount(integers, minlength=_NUM_INTEGERS)
    spread = totals[integers] / shares[integers]
    p, q = truth / truth.sum(), spread / spread.sum()
    return float(np.sum(p * np.log(p / q)))
