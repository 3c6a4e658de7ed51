"""Matrix multiplication, batched, with an optional bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.accumulator import accumulator_dtype
from lepton_cc.ir.ops.elementwise import broadcast_shapes
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class MatMul(OpKind):
    """y[..., m, n] = bias[n] + sum over k of lhs[..., m, k] rhs[..., k, n].

    Leading dimensions broadcast. Operands have at least two dimensions (the frontend reshapes
    vectors). Narrow floats accumulate in binary32. Integers of up to 16 bits accumulate in i32,
    and count as their difference to the operand's zero point.
    """

    MNEMONIC: ClassVar[str] = "matmul"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.CONTRACTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("lhs", "rhs", "bias?")
    lhs_zero_point: int = 0
    rhs_zero_point: int = 0

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        lhs, rhs = present(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        if lhs.rank < 2 or rhs.rank < 2 or lhs.shape[-1] != rhs.shape[-2]:
            raise TypeInferenceError(f"cannot multiply {lhs} by {rhs}")
        result = accumulator_dtype(lhs.dtype, rhs.dtype)
        if bias is not None and (bias.shape != (rhs.shape[-1],) or bias.dtype is not result):
            raise TypeInferenceError(f"bias {bias} for {rhs.shape[-1]} columns of {result.value}")
        batch = broadcast_shapes(lhs.shape[:-2], rhs.shape[:-2])
        return (TensorType(result, (*batch, lhs.shape[-2], rhs.shape[-1])),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        lhs, rhs = arrays(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        result = accumulator_dtype(DType.from_numpy(lhs.dtype), DType.from_numpy(rhs.dtype))
        wide = np.dtype(np.float32) if result.is_float and result.bits < 32 else result.numpy
        left, right = lhs.astype(wide), rhs.astype(wide)
        if self.lhs_zero_point or self.rhs_zero_point:
            left = left - np.asarray(self.lhs_zero_point, wide)
            right = right - np.asarray(self.rhs_zero_point, wide)
        y = np.matmul(left, right)
        return ((y if bias is None else y + bias.astype(wide)).astype(result.numpy),)
