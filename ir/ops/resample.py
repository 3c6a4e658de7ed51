"""Resampling along one axis by a table of taps: what Resize becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Resample(OpKind):
    """y[..., o, ...] = sum over taps t, in order, of weights[o, t] * x[..., indices[o, t], ...].

    indices i32 and weights (of x's dtype) are [O, taps]; indices lie in [0, dim) (others are
    clamped into it). Types narrower than 32 bits accumulate in binary32.
    """

    MNEMONIC: ClassVar[str] = "resample"
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "indices", "weights")
    axis: int

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, indices, weights = present(operands, 3)
        fits = (
            0 <= self.axis < x.rank
            and x.dtype.is_float
            and weights.dtype is x.dtype
            and indices.dtype is DType.I32
            and indices.rank == 2
            and indices.shape == weights.shape
            and x.dims[self.axis] > 0
        )
        if not fits:
            raise TypeInferenceError(f"cannot resample {x} by {indices} and {weights}")
        return (x.with_shape((*x.shape[: self.axis], indices.dims[0], *x.shape[self.axis + 1 :])),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, indices, weights = arrays(operands, 3)
        wide = np.dtype(np.float32) if x.dtype.itemsize < 4 else x.dtype
        source = np.moveaxis(x, self.axis, -1).astype(wide)
        y = np.zeros((*source.shape[:-1], indices.shape[0]), wide)
        taps = indices.astype(np.int64)
        for tap in range(indices.shape[1]):
            picked = np.take(source, taps[:, tap], axis=-1, mode="clip")
            y += picked * weights[:, tap].astype(wide)
        return (np.moveaxis(y, -1, self.axis).astype(x.dtype),)
