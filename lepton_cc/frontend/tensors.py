"""ONNX tensors to NumPy arrays, distrusting every field; sparse tensors too."""

import math
import sys
from collections.abc import Sequence

import numpy as np
import onnx

from lepton_cc.frontend.limits import MAX_FOLDED_BYTES, MAX_RANK, MAX_TENSOR_BYTES
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.tensor import Array

_P = onnx.TensorProto
DTYPES: dict[int, DType] = {
    getattr(_P, name): dtype
    for name, dtype in {
        "FLOAT": DType.F32,
        "DOUBLE": DType.F64,
        "FLOAT16": DType.F16,
        "BFLOAT16": DType.BF16,
        "FLOAT8E4M3FN": DType.F8E4M3FN,
        "FLOAT8E4M3FNUZ": DType.F8E4M3FNUZ,
        "FLOAT8E5M2": DType.F8E5M2,
        "FLOAT8E5M2FNUZ": DType.F8E5M2FNUZ,
        "FLOAT8E8M0": DType.F8E8M0FNU,
        "FLOAT4E2M1": DType.F4E2M1FN,
        "INT64": DType.I64,
        "INT32": DType.I32,
        "INT16": DType.I16,
        "INT8": DType.I8,
        "INT4": DType.I4,
        "INT2": DType.I2,
        "UINT64": DType.U64,
        "UINT32": DType.U32,
        "UINT16": DType.U16,
        "UINT8": DType.U8,
        "UINT4": DType.U4,
        "UINT2": DType.U2,
        "BOOL": DType.BOOL,
    }.items()
    if hasattr(_P, name)
}
# Which typed field holds the elements when raw_data does not; narrow types share int32_data.
_WIDE_FIELDS = {
    DType.F32: "float_data",
    DType.F64: "double_data",
    DType.I64: "int64_data",
    DType.U64: "uint64_data",
    DType.U32: "uint64_data",
}


def _malformed(reason: str, code: Code = Code.MODEL_MALFORMED) -> NodeRefusal:
    return NodeRefusal(reason, code=code)


def element_type(number: int) -> DType:
    """The DType of an ONNX element type number.

    Raises:
        NodeRefusal: strings, complex numbers and unknown numbers have none.
    """
    if number in DTYPES:
        return DTYPES[number]
    known = number in _P.DataType.values()
    name = _P.DataType.Name(number).lower() if known else f"element type {number}"
    raise NodeRefusal(
        f"{name} tensors cannot be compiled",
        "tensors hold numbers or booleans here",
        Code.UNSUPPORTED_TYPE,
    )


def checked_dims(dims: Sequence[int]) -> tuple[int, ...]:
    """The dims of a tensor that is stored in the model: not negative, of bounded rank."""
    if len(dims) > MAX_RANK:
        raise _malformed(f"a tensor has {len(dims)} dimensions", Code.LIMIT_EXCEEDED)
    if any(dim < 0 for dim in dims):
        raise _malformed(f"a tensor has the negative dimension {min(dims)}")
    if any(dim > MAX_TENSOR_BYTES for dim in dims):
        raise _malformed(f"a tensor has the dimension {max(dims)}", Code.LIMIT_EXCEEDED)
    return tuple(int(dim) for dim in dims)


def tensor_array(proto: onnx.TensorProto) -> Array:
    """The content of a tensor whose data is in the message itself.

    Raises:
        NodeRefusal: the type is not numeric, or data and dims do not match.
    """
    dtype = element_type(proto.data_type)
    dims = checked_dims(proto.dims)
    if proto.data_location == _P.EXTERNAL or proto.external_data:
        raise _malformed(f"tensor {proto.name!r} has external data here", Code.EXTERNAL_DATA)
    if proto.HasField("segment"):
        raise _malformed(f"tensor {proto.name!r} is stored in segments")
    if proto.HasField("raw_data"):
        return array_from_bytes(proto.raw_data, dtype, dims, proto.name)
    return _array_from_fields(proto, dtype, dims)


def array_from_bytes(raw: bytes, dtype: DType, dims: tuple[int, ...], name: str) -> Array:
    """Little-endian bytes, two or four elements a byte below 8 bits (low bits first)."""
    count = math.prod(dims)
    per_byte = max(1, 8 // dtype.bits) if dtype is not DType.BOOL else 1
    expected = -(-count // per_byte) * dtype.size_bytes
    if len(raw) != expected:
        shape = list(dims)
        raise _malformed(
            f"tensor {name!r} ({dtype.value}{shape}) has {len(raw)} bytes of data, not {expected}"
        )
    if per_byte > 1:
        return _unpacked(np.frombuffer(raw, np.uint8), dtype, count).reshape(dims)
    if dtype is DType.BOOL:
        return np.frombuffer(raw, np.uint8).astype(np.bool_).reshape(dims)
    array = np.frombuffer(raw, dtype.numpy)
    return (array if sys.byteorder == "little" else array.byteswap()).reshape(dims)


def _unpacked(packed: Array, dtype: DType, count: int) -> Array:
    per_byte = 8 // dtype.bits
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(dtype.bits)
    mask = np.uint8((1 << dtype.bits) - 1)
    codes = ((packed.astype(np.uint8)[:, None] >> shifts) & mask).reshape(-1)[:count]
    if dtype.is_signed_integer:
        sign = 1 << (dtype.bits - 1)
        return ((codes.astype(np.int8) ^ sign) - sign).astype(dtype.numpy)
    if dtype.is_float:
        floats: Array = codes.view(dtype.numpy)
        return floats
    return codes.astype(dtype.numpy)


def _array_from_fields(proto: onnx.TensorProto, dtype: DType, dims: tuple[int, ...]) -> Array:
    field = _WIDE_FIELDS.get(dtype, "int32_data")
    stored = getattr(proto, field)
    count = math.prod(dims)
    per_entry = max(1, 8 // dtype.bits) if dtype is not DType.BOOL else 1
    expected = -(-count // per_entry)
    if len(stored) != expected:
        raise _malformed(
            f"tensor {proto.name!r} ({dtype.value}{list(dims)}) has {len(stored)} entries in"
            f" {field}, not {expected}"
        )
    if field != "int32_data":
        wide = np.uint64 if field == "uint64_data" else dtype.numpy
        return np.array(stored, wide).astype(dtype.numpy).reshape(dims)
    codes = np.array(stored, np.int64)
    if per_entry > 1:
        return _unpacked((codes & 0xFF).astype(np.uint8), dtype, count).reshape(dims)
    if dtype is DType.BOOL:
        flags: Array = (codes != 0).reshape(dims)
        return flags
    if dtype.is_float:
        bits = np.uint16 if dtype.bits == 16 else np.uint8
        floats: Array = codes.astype(bits).view(dtype.numpy).reshape(dims)
        return floats
    integers: Array = codes.astype(dtype.numpy).reshape(dims)
    return integers


def sparse_tensor_array(proto: onnx.SparseTensorProto) -> Array:
    """The dense content of a COO tensor; indices are linear [NNZ] or per dimension [NNZ, rank].

    Raises:
        NodeRefusal: an index lies outside, or the dense tensor would be too big.
    """
    values = tensor_array(proto.values).reshape(-1)
    stored = tensor_array(proto.indices)
    dims = checked_dims(proto.dims)
    count = math.prod(dims)
    if count * values.dtype.itemsize > MAX_FOLDED_BYTES:
        raise _malformed(f"a sparse tensor has dimensions {list(dims)}", Code.LIMIT_EXCEEDED)
    if stored.dtype != np.int64 or stored.shape not in ((values.size,), (values.size, len(dims))):
        raise _malformed("a sparse tensor's indices do not match its values")
    indices = stored.astype(np.int64)
    bounds = np.array([count] if indices.ndim == 1 else dims, np.int64)
    if np.any(indices < 0) or np.any(indices >= bounds):
        raise _malformed("a sparse tensor has an index outside its dimensions")
    linear = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dims)
    dense = np.zeros(count, values.dtype)
    dense[linear] = values
    return dense.reshape(dims)
