"""What watches one value of a float model while samples go through it, and says its range."""

from typing import Protocol

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval


class RangeObserver(Protocol):
    """Sees the value of every sample once; its memory does not grow with their number."""

    def observe(self, values: Array) -> None:
        """Takes in f32 values of any shape, all finite."""

    def interval(self) -> Interval:
        """The range that integers are to represent; (0, 0) if nothing was seen."""
