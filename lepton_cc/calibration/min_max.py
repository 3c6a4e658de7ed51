"""The min-max method: everything that was seen is represented, nothing is cut off."""

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval


class MinMaxObserver:
    """The smallest and the largest value."""

    def __init__(self) -> None:
        self._low = np.inf
        self._high = -np.inf

    def observe(self, values: Array) -> None:
        """Widens the range."""
        if values.size:
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))

    def interval(self) -> Interval:
        """From the smallest to the largest."""
        return Interval(self._low, self._high) if self._low <= self._high else Interval(0.0, 0.0)
