"""The C type of each element type, as the generated header and the board's glue spell it."""

from collections.abc import Mapping

from lepton_cc.ir.dtype import DType

# Types without a C counterpart travel as the unsigned integer of their encoding, sub-byte ones in
# a byte of their own.
_C_TYPES: Mapping[DType, str] = {
    DType.F64: "double",
    DType.F32: "float",
    DType.F16: "uint16_t",
    DType.BF16: "uint16_t",
    DType.F8E4M3FN: "uint8_t",
    DType.F8E4M3FNUZ: "uint8_t",
    DType.F8E5M2: "uint8_t",
    DType.F8E5M2FNUZ: "uint8_t",
    DType.F8E8M0FNU: "uint8_t",
    DType.F4E2M1FN: "uint8_t",
    DType.I64: "int64_t",
    DType.I32: "int32_t",
    DType.I16: "int16_t",
    DType.I8: "int8_t",
    DType.I4: "int8_t",
    DType.I2: "int8_t",
    DType.U64: "uint64_t",
    DType.U32: "uint32_t",
    DType.U16: "uint16_t",
    DType.U8: "uint8_t",
    DType.U4: "uint8_t",
    DType.U2: "uint8_t",
    DType.BOOL: "uint8_t",
}


def c_type(dtype: DType) -> str:
    """The C type of one element in a buffer."""
    return _C_TYPES[dtype]
