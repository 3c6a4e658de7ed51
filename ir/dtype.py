"""Element types of tensors: every ONNX numeric type, with NumPy's representation of each.

Sub-byte types (int4, uint4, ...) live one element a byte in NumPy (through ml_dtypes) and in
generated buffers; only constants and files pack them.
"""

import enum
from typing import Any

import ml_dtypes
import numpy as np


class DType(enum.Enum):
    """An element type; the value is its name in the IR's text form."""

    F64 = "f64"
    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    F8E4M3FN = "f8e4m3fn"
    F8E4M3FNUZ = "f8e4m3fnuz"
    F8E5M2 = "f8e5m2"
    F8E5M2FNUZ = "f8e5m2fnuz"
    F8E8M0FNU = "f8e8m0fnu"
    F4E2M1FN = "f4e2m1fn"
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    I4 = "i4"
    I2 = "i2"
    U64 = "u64"
    U32 = "u32"
    U16 = "u16"
    U8 = "u8"
    U4 = "u4"
    U2 = "u2"
    BOOL = "bool"

    @property
    def is_float(self) -> bool:
        """True for binary floating-point types of any width."""
        return self.value[0] == "f" or self is DType.BF16

    @property
    def is_signed_integer(self) -> bool:
        """True for i2 to i64."""
        return self.value[0] == "i"

    @property
    def is_unsigned_integer(self) -> bool:
        """True for u2 to u64."""
        return self.value[0] == "u"

    @property
    def is_integer(self) -> bool:
        """True for every integer type; bool is none."""
        return self.value[0] in "iu"

    @property
    def bits(self) -> int:
        """Width of one element's encoding (1 for bool)."""
        return _BITS[self]

    @property
    def size_bytes(self) -> int:
        """Bytes of one element in a buffer: sub-byte types take a whole byte there."""
        return max(1, self.bits // 8)

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's representation of the type."""
        return _NUMPY[self]

    @staticmethod
    def from_numpy(dtype: np.dtype[np.generic]) -> "DType":
        """The DType that a NumPy dtype stands for.

        Raises:
            KeyError: the dtype has none (strings, complex numbers, objects).
        """
        return _FROM_NUMPY[np.dtype(dtype).newbyteorder("=")]


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F64: np.dtype(np.float64),
    DType.F32: np.dtype(np.float32),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.F8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    DType.F8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.F8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    DType.F8E8M0FNU: np.dtype(ml_dtypes.float8_e8m0fnu),
    DType.F4E2M1FN: np.dtype(ml_dtypes.float4_e2m1fn),
    DType.I64: np.dtype(np.int64),
    DType.I32: np.dtype(np.int32),
    DType.I16: np.dtype(np.int16),
    DType.I8: np.dtype(np.int8),
    DType.I4: np.dtype(ml_dtypes.int4),
    DType.I2: np.dtype(ml_dtypes.int2),
    DType.U64: np.dtype(np.uint64),
    DType.U32: np.dtype(np.uint32),
    DType.U16: np.dtype(np.uint16),
    DType.U8: np.dtype(np.uint8),
    DType.U4: np.dtype(ml_dtypes.uint4),
    DType.U2: np.dtype(ml_dtypes.uint2),
    DType.BOOL: np.dtype(np.bool_),
}
_FROM_NUMPY = {numpy_dtype: dtype for dtype, numpy_dtype in _NUMPY.items()}
_BITS = {
    dtype: int(digits)
    for dtype in DType
    if (digits := "".join(c for c in dtype.value.split("e")[0] if c.isdigit()))
} | {DType.BOOL: 1}


def integer_bounds(dtype: DType) -> tuple[int, int]:
    """The smallest and largest value of an integer type, sub-byte types included."""
    if dtype.is_signed_integer:
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return 0, (1 << dtype.bits) - 1
