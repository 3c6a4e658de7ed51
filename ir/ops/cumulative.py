"""Running sums and products along an axis."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


class CumulativeFunction(enum.Enum):
    """What accumulates; the value is the mnemonic."""

    SUM = "cumulative_sum"
    PROD = "cumulative_prod"


@dataclass(frozen=True, slots=True)
class Cumulative(OpKind):
    """y[i] = sum (product) of x[0..i] along an axis; without x[i] itself if `exclusive`.

    With `reverse` it runs from the end. Integers wrap; types narrower than 32 bits accumulate in
    binary32. ONNX CumSum-14, CumProd-26.
    """

    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    function: CumulativeFunction
    axis: int
    exclusive: bool = False
    reverse: bool = False

    @property
    def mnemonic(self) -> str:
        return self.function.value

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not 0 <= self.axis < x.rank or x.dtype is DType.BOOL:
            raise TypeInferenceError(f"cannot take {self.mnemonic} of {x} on axis {self.axis}")
        return (x.with_shape(x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        is_sum = self.function is CumulativeFunction.SUM
        narrow = DType.from_numpy(x.dtype)
        wide = x.astype(np.float32 if narrow.is_float and narrow.bits < 32 else x.dtype)
        moved = np.moveaxis(np.flip(wide, self.axis) if self.reverse else wide, self.axis, 0)
        if self.exclusive:
            first = np.full_like(moved[:1], 0 if is_sum else 1)
            moved = np.concatenate((first, moved[:-1]))
        combine = np.add if is_sum else np.multiply
        with np.errstate(all="ignore"):
            y = np.moveaxis(
                np.asarray(combine.accumulate(moved, axis=0, dtype=wide.dtype)), 0, self.axis
            )
        return ((np.flip(y, self.axis) if self.reverse else y).astype(x.dtype),)
