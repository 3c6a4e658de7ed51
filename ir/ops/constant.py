"""The constant op."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import Quantization, TensorType


@dataclass(frozen=True, slots=True)
class Constant(OpKind):
    """A tensor that is known at compile time; integers may carry their quantization."""

    MNEMONIC: ClassVar[str] = "constant"
    value: Tensor
    quantization: Quantization | None = None

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        plain = self.value.type
        return (TensorType(plain.dtype, plain.shape, self.quantization),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        return (self.value.array,)
