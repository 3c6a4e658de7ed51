"""How large the i32 accumulator of an integer contraction can become.

Raising asks before it makes a contraction; `prove_accumulators` asks again of every one there is.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

# What an i32 accumulator must stay below.
LIMIT = 1 << 31

Contraction = Conv | ConvTranspose | MatMul


@dataclass(frozen=True, slots=True)
class Integers:
    """A tensor that is computed at run time: its dimensions, and what its elements can be."""

    dims: tuple[int, ...]
    low: int
    high: int

    @staticmethod
    def of(type_: TensorType) -> "Integers":
        """Any integers of the type."""
        return Integers(type_.dims, *integer_bounds(type_.dtype))

    def largest(self, zero_point: int) -> int:
        """max |x - zero_point|."""
        return max(abs(self.low - zero_point), abs(self.high - zero_point))


def largest_magnitude(dtype: DType, zero_point: int) -> int:
    """max |x - zero_point| over all x of an integer type."""
    low, high = integer_bounds(dtype)
    return max(abs(low - zero_point), abs(high - zero_point))


def accumulator_bound(
    kind: Contraction, x: Integers, weights: Array | Integers, bias: Array | None
) -> int:
    """The largest of sum |w - zero point| * max |x - zero point| + |bias| over the outputs.

    `weights` is the content of the second operand, if it is a constant.
    """
    zero_point = kind.lhs_zero_point if isinstance(kind, MatMul) else kind.zero_point
    largest = x.largest(zero_point)
    if isinstance(weights, Integers):
        offset = kind.rhs_zero_point if isinstance(kind, MatMul) else 0
        sums = np.asarray(_depth(kind, weights.dims) * weights.largest(offset))
    else:
        sums = _weight_sums(kind, weights)
    offsets = np.zeros((), np.int64) if bias is None else np.abs(bias.astype(np.int64))
    totals = sums * largest + (offsets if sums.shape[-1:] == offsets.shape else offsets.max())
    return int(totals.max()) if totals.size else 0


def _depth(kind: Contraction, dims: tuple[int, ...]) -> int:
    if isinstance(kind, MatMul):
        return dims[-2]
    count = math.prod(dims[:-1])
    return count // kind.groups if isinstance(kind, ConvTranspose) else count


def _weight_sums(kind: Contraction, weights: Array) -> Array:
    """sum |w| for each output, the last axis."""
    wide = weights.astype(np.int64)
    if isinstance(kind, MatMul):
        sums = np.abs(wide - kind.rhs_zero_point).sum(axis=-2)
        return np.asarray(sums.reshape(-1, sums.shape[-1]).max(axis=0, initial=0))
    if isinstance(kind, ConvTranspose):
        rows = np.abs(wide).sum(axis=tuple(range(wide.ndim - 2)))
        return np.asarray(rows.reshape(kind.groups, -1, rows.shape[-1]).sum(axis=1).reshape(-1))
    return np.asarray(np.abs(wide).sum(axis=tuple(range(wide.ndim - 1))))
