"""Layer norm and RMS norm of quantized rows, by integers alone.

Its formula is normative (docs/numerics.md); `passes.quantize.norms` chooses the constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.elementwise import broadcast_shapes
from lepton_cc.ir.ops.fixed_point import divided, square_root
from lepton_cc.ir.ops.integer import Range
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class QuantizedNorm(OpKind):
    """y = clamp(low, high, RNE((q scale + bias) / 2^result_bits) + zero_point) of rows from `axis`.

    Of a row of n integers x, with s = sum(x - input_zero_point) if `centered`, else 0:
    d_i = n (x_i - input_zero_point) - s; v = n sum (x - input_zero_point)^2 - s^2;
    r = floor(2^reciprocal_bits / floor(sqrt(v 2^(2 variance_bits) + epsilon)));
    q_i = RNE(d_i r / 2^shift). All of it is exact in 64 bits. scale is i32, bias i64; both
    broadcast to the row.
    """

    MNEMONIC: ClassVar[str] = "quantized_norm"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "scale", "bias?")
    axis: int
    centered: bool
    input_zero_point: int
    epsilon: int
    variance_bits: int
    reciprocal_bits: int
    shift: int
    result_bits: int
    range: Range

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale = present(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        self.range.check()
        if not x.dtype.is_integer or x.dtype.bits > 16 or not 0 <= self.axis < x.rank:
            raise TypeInferenceError(f"quantized_norm of {x} from axis {self.axis}")
        if scale.dtype is not DType.I32 or (bias is not None and bias.dtype is not DType.I64):
            raise TypeInferenceError(f"quantized_norm with {scale} and {bias}")
        for parameter in (scale,) if bias is None else (scale, bias):
            fits = parameter.rank <= x.rank - self.axis
            if not fits or broadcast_shapes(parameter.shape, x.shape) != x.shape:
                raise TypeInferenceError(f"quantized_norm of {x} with {parameter}")
        if self.epsilon < 1:
            raise TypeInferenceError("quantized_norm with a root of nothing")
        return (TensorType(self.range.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale = arrays(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        axes = tuple(range(self.axis, x.ndim))
        count = int(np.prod(x.shape[self.axis :]))
        differences = x.astype(np.int64) - self.input_zero_point
        total = differences.sum(axis=axes, keepdims=True) * int(self.centered)
        variance = count * np.square(differences).sum(axis=axes, keepdims=True) - total * total
        root = square_root((variance << (2 * self.variance_bits)) + self.epsilon)
        reciprocal = np.int64(1 << self.reciprocal_bits) // root
        q = divided((count * differences - total) * reciprocal, self.shift)
        y = q * scale.astype(np.int64)
        if bias is not None:
            y = y + bias
        y = divided(np.asarray(y), self.result_bits) + self.range.zero_point
        return (np.clip(y, self.range.low, self.range.high).astype(self.range.dtype.numpy),)
