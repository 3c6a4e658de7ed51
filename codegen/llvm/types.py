"""Kernel IR types and constants in LLVM's notation."""

import struct

import numpy as np

from lepton_cc.codegen.kernel.types import INDEX, ScalarType, is_float
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType


def bits(type_: ScalarType, pointer_bits: int) -> int:
    """Width of a value of the type in a register (1 for bool)."""
    if type_ is INDEX:
        return pointer_bits
    assert isinstance(type_, DType)
    if type_ is DType.BOOL:
        return 1
    return max(8, type_.bits)


def scalar(type_: ScalarType, pointer_bits: int) -> str:
    """LLVM's name of the type as a value: bool is i1."""
    if type_ is DType.F32:
        return "float"
    if type_ is DType.F64:
        return "double"
    if is_float(type_):
        raise InternalError(f"{type_} is storage only; lowerings convert it")
    return f"i{bits(type_, pointer_bits)}"


def stored(type_: ScalarType, pointer_bits: int) -> str:
    """LLVM's name of the type in memory: bool is i8."""
    return "i8" if type_ is DType.BOOL else scalar(type_, pointer_bits)


def vector(name: str, lanes: int) -> str:
    """The vector type, or the scalar one for a single lane."""
    return name if lanes == 1 else f"<{lanes} x {name}>"


def constant(value: int | float, type_: ScalarType, pointer_bits: int) -> str:
    """A literal: floats by their bits, integers wrapped into the type."""
    if is_float(type_):
        rounded = float(np.float32(value)) if type_ is DType.F32 else float(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if type_ is DType.BOOL:
        return "true" if value else "false"
    width = bits(type_, pointer_bits)
    wrapped = int(value) & ((1 << width) - 1)
    return str(wrapped - (1 << width) if wrapped >> (width - 1) else wrapped)
