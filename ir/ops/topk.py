"""Selection of the k largest or smallest elements along an axis."""

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
class TopK(OpKind):
    """The k extreme elements along an axis, best first: values and their indices (i64).

    Of equal elements the one with the lower index comes first; NaN is the largest of all. ONNX
    TopK-24 (whose `sorted = 0` leaves the order open, so sorting is right for it too).
    """

    MNEMONIC: ClassVar[str] = "topk"
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    k: int
    axis: int
    largest: bool = True

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not 0 <= self.axis < x.rank or not 0 <= self.k <= x.dims[self.axis]:
            raise TypeInferenceError(f"cannot take the top {self.k} of {x} on axis {self.axis}")
        if x.dtype is DType.BOOL:
            raise TypeInferenceError("topk is not defined for bool")
        shape = (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :])
        return TensorType(x.dtype, shape), TensorType(DType.I64, shape)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        if self.largest:
            # A stable ascending sort of the reversed axis, reversed, is a stable descending one.
            flipped = np.argsort(np.flip(x, self.axis), axis=self.axis, kind="stable")
            order = np.flip(x.shape[self.axis] - 1 - flipped, self.axis)
        else:
            order = np.argsort(x, axis=self.axis, kind="stable")
        indices = np.take(order, np.arange(self.k), axis=self.axis)
        return np.take_along_axis(x, indices, self.axis), indices.astype(np.int64)
