"""Matrix multiplication, batched, with an optional bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.elementwise import broadcast_shapes
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class MatMul(OpKind):
    """y[..., m, n] = bias[n] + sum over k of lhs[..., m, k] rhs[..., k, n].

    Leading dimensions broadcast. Operands have at least two dimensions (the frontend reshapes
    vectors). Types narrower than 32 bits accumulate in binary32.
    """

    MNEMONIC: ClassVar[str] = "matmul"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.CONTRACTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("lhs", "rhs", "bias?")

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        lhs, rhs = present(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        if lhs.rank < 2 or rhs.rank < 2 or lhs.dtype != rhs.dtype or lhs.shape[-1] != rhs.shape[-2]:
            raise TypeInferenceError(f"cannot multiply {lhs} by {rhs}")
        if bias is not None and bias.shape != (rhs.shape[-1],):
            raise TypeInferenceError(f"bias {bias} for {rhs.shape[-1]} columns")
        batch = broadcast_shapes(lhs.shape[:-2], rhs.shape[:-2])
        return (TensorType(lhs.dtype, (*batch, lhs.shape[-2], rhs.shape[-1])),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        lhs, rhs = arrays(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        narrow = lhs.dtype.itemsize < 4 and not np.issubdtype(lhs.dtype, np.integer)
        wide = np.dtype(np.float32) if narrow else lhs.dtype
        y = np.matmul(lhs.astype(wide), rhs.astype(wide))
        return ((y if bias is None else y + bias.astype(wide)).astype(lhs.dtype),)
