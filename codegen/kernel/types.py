"""Types of the kernel IR: elements, addresses, and the flat buffers that hold elements.

`ir` says what they mean.
"""

import enum
from dataclasses import dataclass

from lepton_cc.ir.dtype import DType


class IndexType(enum.Enum):
    """The one type that is not an element type: addresses and loop variables."""

    INDEX = "index"


INDEX = IndexType.INDEX
ScalarType = DType | IndexType


def is_float(type_: ScalarType) -> bool:
    """True for float element types."""
    return isinstance(type_, DType) and type_.is_float


def is_unsigned(type_: ScalarType) -> bool:
    """True for unsigned integers and bool."""
    return isinstance(type_, DType) and (type_.is_unsigned_integer or type_ is DType.BOOL)


class Space(enum.Enum):
    """Where a buffer lives."""

    MEMORY = "memory"  # a parameter: arena, input, output or constants
    REGISTERS = "registers"  # a local array that the emitter keeps in registers or on the stack
    STACK = "stack"  # a local array in memory


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A flat array of `size` elements; `written` marks parameters that the kernel stores to."""

    name: str
    dtype: DType
    size: int
    space: Space = Space.MEMORY
    written: bool = False
