"""Scatter: rows of updates written into, or combined with, the rows of a tensor."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.ops.numpy_math import binary_numpy
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


class ScatterFunction(enum.Enum):
    """How an update meets what is there."""

    ASSIGN = "assign"
    ADD = "add"
    MUL = "mul"
    MIN = "min"
    MAX = "max"


_COMBINE = {
    ScatterFunction.ADD: BinaryFunction.ADD,
    ScatterFunction.MUL: BinaryFunction.MUL,
    ScatterFunction.MIN: BinaryFunction.MIN,
    ScatterFunction.MAX: BinaryFunction.MAX,
}


@dataclass(frozen=True, slots=True)
class Scatter(OpKind):
    """y = x, then for i = 0, 1, ... in order: y[indices[i]] = function(y[indices[i]], updates[i]).

    x is [M, *R], indices i32 or i64 [N], updates [N, *R]. An index outside [0, M) writes nothing.
    The frontend makes ONNX ScatterElements and ScatterND of it by linear indices.
    """

    MNEMONIC: ClassVar[str] = "scatter"
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "indices", "updates")
    function: ScatterFunction = ScatterFunction.ASSIGN

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, indices, updates = present(operands, 3)
        fits = (
            x.rank >= 1
            and indices.rank == 1
            and indices.dtype in (DType.I32, DType.I64)
            and updates.dtype is x.dtype
            and updates.shape == indices.shape + x.shape[1:]
        )
        if not fits:
            raise TypeInferenceError(f"cannot scatter {updates} into {x} at {indices}")
        if x.dtype is DType.BOOL and self.function is not ScatterFunction.ASSIGN:
            raise TypeInferenceError(f"scatter {self.function.value} is not defined for bool")
        return (x,)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, indices, updates = arrays(operands, 3)
        y = x.copy()
        for index, update in zip(indices.tolist(), updates, strict=True):
            if not 0 <= index < x.shape[0]:
                continue
            if self.function is ScatterFunction.ASSIGN:
                y[index] = update
            else:
                y[index] = binary_numpy(
                    _COMBINE[self.function], np.asarray(y[index]), np.asarray(update)
                )
        return (y,)
