"""Quantize and dequantize: between reals and the integers (or small floats) that stand for them.

Both are pointwise: scale and zero point broadcast to x, so that per-tensor, per-axis and blocked
quantization are one op (the frontend reshapes or repeats the scales).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.elementwise import broadcast_shapes
from lepton_cc.ir.ops.numpy_math import cast_array
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


def _check_parameters(
    x: TensorType, scale: TensorType, zero_point: TensorType | None, quantized: DType
) -> None:
    if broadcast_shapes(x.shape, scale.shape) != x.shape or not scale.dtype.is_float:
        raise TypeInferenceError(f"scale {scale} does not fit {x}")
    if zero_point is None:
        return
    if zero_point.dtype is not quantized or zero_point.shape != scale.shape:
        raise TypeInferenceError(f"zero point {zero_point} does not fit {quantized.value}, {scale}")


@dataclass(frozen=True, slots=True)
class Quantize(OpKind):
    """y = saturate(round(x / scale) + zero_point), rounding half to even.

    x is a float (or i32) tensor; the division is done in binary32 (binary64 for f64). For an
    8-bit or smaller float `dtype`, y is the nearest value of x / scale, saturated if `saturate`.
    NaN gives the zero point. ONNX QuantizeLinear-25.
    """

    MNEMONIC: ClassVar[str] = "quantize"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "scale", "zero_point?")
    dtype: DType
    saturate: bool = True

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale = present(operands, 2)
        _check_parameters(x, scale, operands[2] if len(operands) > 2 else None, self.dtype)
        small_float = self.dtype.is_float and self.dtype.bits <= 8
        if not (small_float or (self.dtype.is_integer and self.dtype.bits <= 16)):
            raise TypeInferenceError(f"cannot quantize {x} to {self.dtype.value}")
        if not (x.dtype.is_float or x.dtype is DType.I32):
            raise TypeInferenceError(f"cannot quantize {x}")
        return (TensorType(self.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale = arrays(operands, 2)
        zero_point = operands[2] if len(operands) > 2 else None
        wide = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        with np.errstate(all="ignore"):
            ratio = np.asarray(x.astype(wide) / scale.astype(wide))
        if self.dtype.is_float:
            return (cast_array(ratio, self.dtype, saturate=self.saturate),)
        low, high = integer_bounds(self.dtype)
        # Far outside every range, yet exact with any zero point of at most 16 bits.
        rounded = np.clip(np.nan_to_num(np.rint(ratio)), -(2.0**20), 2.0**20).astype(np.int64)
        offset = 0 if zero_point is None else zero_point.astype(np.int64)
        return (np.clip(rounded + offset, low, high).astype(self.dtype.numpy),)


@dataclass(frozen=True, slots=True)
class Dequantize(OpKind):
    """y = (x - zero_point) * scale, in the dtype `dtype`.

    x holds integers (the difference is taken in i32) or small floats; the product is binary32
    (binary64 for f64), rounded once for narrower dtypes. ONNX DequantizeLinear-25.
    """

    MNEMONIC: ClassVar[str] = "dequantize"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "scale", "zero_point?")
    dtype: DType = DType.F32

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale = present(operands, 2)
        _check_parameters(x, scale, operands[2] if len(operands) > 2 else None, x.dtype)
        if not self.dtype.is_float or x.dtype is DType.BOOL:
            raise TypeInferenceError(f"cannot dequantize {x} to {self.dtype.value}")
        return (TensorType(self.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale = arrays(operands, 2)
        zero_point = operands[2] if len(operands) > 2 else None
        wide = np.dtype(np.float64 if self.dtype is DType.F64 else np.float32)
        if DType.from_numpy(x.dtype).is_float:
            real = x.astype(wide)
            if zero_point is not None:
                real = real - zero_point.astype(wide)
        else:
            offset = 0 if zero_point is None else zero_point.astype(np.int64)
            real = (x.astype(np.int64) - offset).astype(np.int32).astype(wide)
        return ((real * scale.astype(wide)).astype(self.dtype.numpy),)
