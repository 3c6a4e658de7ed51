"""How element types are stored and computed with: narrow floats live as bit patterns in buffers.

f16, bf16 and the 8-bit floats are stored as unsigned integers and computed in f32, rounded after
every op. Sub-byte integers are stored and computed in a byte. Everything else is itself.
"""

from lepton_cc.codegen.kernel.ir import Expr
from lepton_cc.codegen.kernel.math.half import decode_narrow_float, encode_narrow_float
from lepton_cc.ir.dtype import DType

_CONTAINERS = {DType.I4: DType.I8, DType.I2: DType.I8, DType.U4: DType.U8, DType.U2: DType.U8}


def is_narrow_float(dtype: DType) -> bool:
    """True for the float types that are computed in f32."""
    return dtype.is_float and dtype.bits < 32


def compute_type(dtype: DType) -> DType:
    """The type that expressions of the dtype have."""
    if is_narrow_float(dtype):
        return DType.F32
    return _CONTAINERS.get(dtype, dtype)


def storage_type(dtype: DType) -> DType:
    """The element type of buffers that hold the dtype."""
    if is_narrow_float(dtype):
        return DType.U16 if dtype.bits == 16 else DType.U8
    return _CONTAINERS.get(dtype, dtype)


def from_storage(stored: Expr, dtype: DType) -> Expr:
    """A loaded element in its compute type."""
    return decode_narrow_float(stored, dtype) if is_narrow_float(dtype) else stored


def to_storage(value: Expr, dtype: DType) -> Expr:
    """A computed element as it is stored."""
    return encode_narrow_float(value, dtype) if is_narrow_float(dtype) else value


def rounded(value: Expr, dtype: DType) -> Expr:
    """A computed value rounded to the dtype, still in the compute type."""
    if not is_narrow_float(dtype):
        return value
    return decode_narrow_float(encode_narrow_float(value, dtype), dtype)
