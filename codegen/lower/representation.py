"""How element types are stored and computed with: narrow floats live as bit patterns in buffers.

f16, bf16 and the 8-bit floats are stored as unsigned integers and computed in f32, rounded after
every op. Sub-byte integers take a byte each, of which only their own bits count when it is read:
NumPy's int4 keeps the others clear, C code has the sign there. Everything else is itself.
"""

from lepton_cc.codegen.kernel.expr import Expr
from lepton_cc.codegen.kernel.math import compute_type, decode, encode, storage_type
from lepton_cc.codegen.kernel.math.integer import byte_type, wrapped
from lepton_cc.ir.dtype import DType

__all__ = [
    "compute_type",
    "from_storage",
    "is_narrow_float",
    "rounded",
    "storage_type",
    "to_storage",
]


def is_narrow_float(dtype: DType) -> bool:
    """True for the float types that are computed in f32."""
    return storage_type(dtype) is not dtype


def from_storage(stored: Expr, dtype: DType) -> Expr:
    """A loaded element in its compute type."""
    if dtype.is_integer and dtype.bits < 8:
        return wrapped(stored.cast(byte_type(dtype)), dtype)
    return decode(stored, dtype)


def to_storage(value: Expr, dtype: DType) -> Expr:
    """A computed element as it is stored."""
    return encode(value, dtype)


def rounded(value: Expr, dtype: DType) -> Expr:
    """A computed value rounded to the dtype, still in the compute type."""
    return decode(encode(value, dtype), dtype) if is_narrow_float(dtype) else value
