"""How two arrays differ: absolutely, relatively, in units of the last place, in their argmax."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.tensor import Array
from lepton_cc.verify.steps import argmax_flips

# Allowed for floats, as numpy.isclose reads them: order of additions and our own functions.
_TOLERANCES = {2: (1e-2, 1e-2), 4: (1e-3, 1e-4), 8: (1e-6, 1e-9)}
_NARROW_TOLERANCE = (0.25, 1e-1)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a tensor is from its reference, over all samples.

    `max_ulp`: in units of the last place of floats, in steps of integers. `argmax_flips` counts
    the rows (along the last axis) whose largest element is another one, of `num_rows`.
    `num_beyond` counts elements that are farther than is
    allowed: one step for integers, a tolerance for floats.
    """

    name: str
    num_elements: int
    num_different: int
    max_abs: float
    max_rel: float
    max_ulp: int
    argmax_flips: int
    num_rows: int
    num_beyond: int

    @property
    def is_within(self) -> bool:
        """True if every element is as close as it must be."""
        return self.num_beyond == 0


def merged(first: Difference, second: Difference) -> Difference:
    """The difference over the samples of both."""
    return Difference(
        first.name,
        first.num_elements + second.num_elements,
        first.num_different + second.num_different,
        max(first.max_abs, second.max_abs),
        max(first.max_rel, second.max_rel),
        max(first.max_ulp, second.max_ulp),
        first.argmax_flips + second.argmax_flips,
        first.num_rows + second.num_rows,
        first.num_beyond + second.num_beyond,
    )


def difference(name: str, got: Array, reference: Array) -> Difference:
    """Compares two arrays of one type and shape; NaN equals NaN."""
    dtype = DType.from_numpy(got.dtype)
    lhs, rhs = got.reshape(-1), reference.reshape(-1)
    wide = np.float64 if dtype.is_float else np.longdouble
    left: NDArray[np.floating] = lhs.astype(wide)
    right: NDArray[np.floating] = rhs.astype(wide)
    both_nan = np.isnan(left) & np.isnan(right)
    same = (left == right) | both_nan
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(same, 0, np.abs(left - right))
    distance = np.where(np.isnan(distance), np.inf, distance)
    largest = np.maximum(np.abs(right), np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        relative = np.nan_to_num(np.where(same, 0, distance / largest), nan=np.inf, posinf=np.inf)
    flips, rows = argmax_flips(got, reference)
    return Difference(
        name=name,
        num_elements=int(same.size),
        num_different=int(same.size - np.count_nonzero(same)),
        max_abs=float(distance.max(initial=0)),
        max_rel=float(relative.max(initial=0)),
        max_ulp=_max_ulp(lhs, rhs, same, dtype),
        argmax_flips=flips,
        num_rows=rows,
        num_beyond=int(np.count_nonzero(distance > _allowed(dtype, right))),
    )


def _allowed(dtype: DType, reference: Array) -> Array:
    if not dtype.is_float:
        return np.full(reference.shape, 0 if dtype is DType.BOOL else 1, np.float64)
    relative, absolute = _TOLERANCES.get(dtype.size_bytes, _NARROW_TOLERANCE)
    magnitude = np.nan_to_num(np.abs(reference), nan=0.0, posinf=0.0)
    return absolute + relative * magnitude


def _max_ulp(lhs: Array, rhs: Array, same: Array, dtype: DType) -> int:
    if not lhs.size:
        return 0
    a, b = _ordered(lhs, dtype), _ordered(rhs, dtype)
    # Python's integers: the distance of two 64-bit numbers may need 65 bits.
    far = [abs(int(x) - int(y)) for x, y in zip(a[~same], b[~same], strict=True)]
    return max(far, default=0)


def _ordered(array: Array, dtype: DType) -> Array:
    """Integers whose difference counts the representable numbers between two floats."""
    if not dtype.is_float:
        return array.astype(np.int64) if dtype is not DType.U64 else array
    size = dtype.size_bytes
    bits = array.view(np.dtype(f"i{size}")).astype(np.int64)
    lowest = -(1 << (8 * size - 1))
    return np.where(bits < 0, lowest - bits, bits)
