"""A histogram of fixed size for values of unknown range, and the observer that fills one.

All observers but min-max are told apart only by the range that they choose from it. Bins are
[i w, (i + 1) w) for whole i, with w a power of two. A value beyond them doubles w, and bins join in
pairs; so the result does not depend on the order of the samples.
"""

import math

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval

NUM_BINS = 4096
# The first width: 2^-40 is below every step that matters.
_FIRST_EXPONENT = -40
# Numbers of bins stay below this, so that binary64 counts them exactly.
_LIMIT = 1 << 40


class Histogram:
    """Counts of values but for exact zeros, which every quantization represents.

    `counts` i64[NUM_BINS]; bin b holds [first + b, first + b + 1) times `width`.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(NUM_BINS, np.int64)
        self.first = 0
        self.low = math.inf
        self.high = -math.inf
        self._exponent = _FIRST_EXPONENT

    @property
    def width(self) -> float:
        """The width of a bin."""
        return 2.0**self._exponent

    @property
    def num_values(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def interval(self) -> Interval:
        """From the smallest value to the largest, zeros included."""
        return Interval(self.low, self.high) if self.low <= self.high else Interval(0.0, 0.0)

    @property
    def centers(self) -> Array:
        """The middle of each bin, f64[NUM_BINS]."""
        return np.asarray((self.first + np.arange(NUM_BINS) + 0.5) * self.width)

    def add(self, values: Array) -> None:
        """Counts finite values of any shape."""
        if not values.size:
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        flat = values.reshape(-1).astype(np.float64)
        flat = flat[flat != 0]
        if not flat.size:
            return
        self._cover(float(flat.min()), float(flat.max()))
        numbers = np.floor(flat * 2.0**-self._exponent).astype(np.int64) - self.first
        self.counts += np.bincount(numbers, minlength=NUM_BINS)

    def _cover(self, low: float, high: float) -> None:
        """Makes bins wide enough for this range and for all that was counted."""
        used = np.flatnonzero(self.counts)
        first = math.floor(low / self.width)
        last = math.floor(high / self.width)
        if used.size:
            first = min(first, self.first + int(used[0]))
            last = max(last, self.first + int(used[-1]))
        halvings = 0
        while not _fits(first >> halvings, last >> halvings):
            halvings += 1
        old_numbers = (self.first + used) >> halvings
        self.first = first >> halvings
        counts = np.zeros(NUM_BINS, np.int64)
        np.add.at(counts, old_numbers - self.first, self.counts[used])
        self.counts = counts
        self._exponent += halvings


def _fits(first: int, last: int) -> bool:
    return last - first < NUM_BINS and first > -_LIMIT and last < _LIMIT


class HistogramObserver:
    """Base of observers that choose a range from the histogram of all values."""

    def __init__(self) -> None:
        self._histogram = Histogram()

    def observe(self, values: Array) -> None:
        """Counts the values."""
        self._histogram.add(values)

    def _used(self) -> tuple[Array, Array]:
        """Centers of the bins that hold values, and how many; f64."""
        used = np.flatnonzero(self._histogram.counts)
        return self._histogram.centers[used], self._histogram.counts[used].astype(np.float64)
