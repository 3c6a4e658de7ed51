"""Reinterpretation of bits as another element type of the same width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.numpy_math import wrap_integers
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


def _width(dtype: DType) -> int:
    return 8 if dtype is DType.BOOL else dtype.bits


@dataclass(frozen=True, slots=True)
class Bitcast(OpKind):
    """y has x's bits under another dtype of the same width; a bool counts as a byte.

    A byte that becomes a bool is true if it is not 0. ONNX BitCast-26.
    """

    MNEMONIC: ClassVar[str] = "bitcast"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    dtype: DType

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if _width(x.dtype) != _width(self.dtype):
            raise TypeInferenceError(f"{x} has not the width of {self.dtype.value}")
        return (x.with_dtype(self.dtype),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        if self.dtype is DType.BOOL:
            return (np.asarray(x.view(np.uint8) != 0),)
        if self.dtype.is_integer and self.dtype.bits < 8:
            return (wrap_integers(x.view(np.uint8), self.dtype),)
        return (np.ascontiguousarray(x).view(self.dtype.numpy).reshape(x.shape),)
