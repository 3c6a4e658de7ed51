"""Fields of packets and registers: where a number stands in 32-bit words, and how it is coded."""

import enum
import struct
from dataclasses import dataclass


class Coding(enum.Enum):
    """How the bits of a field make a number."""

    UNSIGNED = "unsigned"
    SIGNED = "signed"  # two's complement
    BINARY32 = "binary32"
    ADDRESS = "address"  # region in bits 31:28, byte offset in bits 27:0


@dataclass(frozen=True, slots=True)
class Field:
    """Bits [low, low + width) of a word; `word` counts from the start of the packet."""

    name: str
    word: int
    low: int
    width: int
    coding: Coding
    description: str

    @property
    def mask(self) -> int:
        """The field's bits in its word."""
        return ((1 << self.width) - 1) << self.low

    def encode(self, value: float) -> int:
        """The bits of a value, in place.

        Raises:
            ValueError: the value does not fit into the field.
        """
        if self.coding is Coding.BINARY32:
            (bits,) = struct.unpack("<I", struct.pack("<f", value))
            return int(bits)
        number = int(value)
        low = -(1 << (self.width - 1)) if self.coding is Coding.SIGNED else 0
        high = low + (1 << self.width)
        if number != value or not low <= number < high:
            raise ValueError(f"{value} does not fit into field {self.name} ({self.width} bits)")
        return (number << self.low) & self.mask

    def decode(self, word: int) -> float:
        """The value that a word holds in this field: an int but for binary32."""
        bits = (word & self.mask) >> self.low
        if self.coding is Coding.BINARY32:
            (value,) = struct.unpack("<f", struct.pack("<I", bits))
            return float(value)
        if self.coding is Coding.SIGNED and bits >> (self.width - 1):
            return bits - (1 << self.width)
        return bits
