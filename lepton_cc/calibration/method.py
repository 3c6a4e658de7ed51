"""The ways to choose a range: the values of `--calibration-method`."""

import enum
from collections.abc import Callable, Mapping

from lepton_cc.calibration.entropy import EntropyObserver
from lepton_cc.calibration.mean_squared_error import MeanSquaredErrorObserver
from lepton_cc.calibration.min_max import MinMaxObserver
from lepton_cc.calibration.observer import RangeObserver
from lepton_cc.calibration.percentile import PercentileObserver


class Method(enum.Enum):
    """How a range is chosen from the values that were seen."""

    MIN_MAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"

    def observer(self) -> RangeObserver:
        """A fresh observer for one value."""
        return _OBSERVERS[self]()


_OBSERVERS: Mapping[Method, Callable[[], RangeObserver]] = {
    Method.MIN_MAX: MinMaxObserver,
    Method.PERCENTILE: PercentileObserver,
    Method.MSE: MeanSquaredErrorObserver,
    Method.ENTROPY: EntropyObserver,
}
