"""Arithmetic of integer ops beyond NumPy's: rounded shifts, whole roots, interpolated tables.

64 bits throughout; what overflows them is excluded by the ops' constants (docs/numerics.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.tensor import Tensor

Wide = NDArray[np.int64]

# The intervals of a curve, as a power of two, and the bits behind the point of its values.
CURVE_INTERVALS = 10
CURVE_FRACTION = 15


def divided(x: Wide, shift: int) -> Wide:
    """x / 2^shift rounded half to even, exact for |x| < 2^62."""
    if shift == 0:
        return x
    odd = (x >> shift) & 1
    return np.asarray((x + ((1 << (shift - 1)) - 1) + odd) >> shift)


def square_root(x: Wide) -> Wide:
    """floor(sqrt(x)) for 0 <= x < 2^62, exact."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    root = root - (root * root > x)
    return np.asarray(root + ((root + 1) * (root + 1) <= x))


def interpolated(entries: Wide, position: Wide, bits: int) -> Wide:
    """entries at position / 2^bits, on straight lines between neighbours, rounded half to even.

    position is at least 0 and below (len(entries) - 1) 2^bits.
    """
    at, rest = position >> bits, position & ((1 << bits) - 1)
    return np.asarray(entries[at] + divided((entries[at + 1] - entries[at]) * rest, bits))


@dataclass(frozen=True, slots=True)
class Curve:
    """A function f from fixed point to fixed point: 1,024 straight lines over -2^reach..2^reach.

    `entries` (i16, 1025 of them) are f at equal distances, in steps of 2^-15, from -32767 to 32767.
    Beyond both ends f is what it is there.
    """

    entries: Tensor
    reach: int

    def check(self) -> None:
        """Raises TypeInferenceError if the entries are none of a curve."""
        type_ = self.entries.type
        if type_.dtype is not DType.I16 or type_.shape != ((1 << CURVE_INTERVALS) + 1,):
            raise TypeInferenceError(f"curve by {type_}")
        if not 0 <= self.reach <= CURVE_INTERVALS - 1:
            raise TypeInferenceError(f"curve of reach {self.reach}")

    def step_bits(self, fraction: int) -> int:
        """An interval is 2^step_bits steps long, for arguments in steps of 2^-fraction."""
        return fraction + self.reach + 1 - CURVE_INTERVALS

    def __call__(self, x: Wide, fraction: int) -> Wide:
        """f of x in steps of 2^-fraction, in steps of 2^-15."""
        bound = 1 << (fraction + self.reach)
        position = np.clip(x, -bound, bound - 1) + bound
        entries = self.entries.array.astype(np.int64)
        return interpolated(entries, position, self.step_bits(fraction))
