"""Regions: the memories that a stream can name, and addresses inside them."""

import enum
from dataclasses import dataclass

OFFSET_BITS = 28


class Region(enum.IntEnum):
    """The upper four bits of an address. The driver binds all but SPM and WBUF to memory."""

    STREAM = 0
    CONSTANTS = 1
    ARENA = 2
    SPM = 3
    WBUF = 4
    STATE = 5
    TRACE = 6
    INPUT0 = 8
    INPUT1 = 9
    INPUT2 = 10
    INPUT3 = 11
    OUTPUT0 = 12
    OUTPUT1 = 13
    OUTPUT2 = 14
    OUTPUT3 = 15


NUM_REGIONS = 16
MAX_PORTS = 4  # inputs, and outputs, of one segment
RESERVED_REGION = 7
INTERNAL = frozenset({Region.SPM, Region.WBUF})
WRITABLE = frozenset(
    {
        Region.ARENA,
        Region.SPM,
        Region.WBUF,
        Region.STATE,
        Region.TRACE,
        Region.OUTPUT0,
        Region.OUTPUT1,
        Region.OUTPUT2,
        Region.OUTPUT3,
    }
)

DESCRIPTIONS = {
    Region.STREAM: "the packets; read-only",
    Region.CONSTANTS: "weights, channel tables, 256-entry tables; read-only",
    Region.ARENA: "intermediate values in the system's memory, shared with the control core",
    Region.SPM: "scratchpad, inside the device: feature maps",
    Region.WBUF: "weight buffer, inside the device: weights and tables",
    Region.STATE: "what persists between runs",
    Region.TRACE: "ring that TRACE packets write to",
    Region.INPUT0: "the segment's inputs 0 to 3 are regions 8 to 11; read-only",
    Region.OUTPUT0: "the segment's outputs 0 to 3 are regions 12 to 15",
}


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A byte of a region."""

    region: Region
    offset: int

    def word(self) -> int:
        """As a packet holds it.

        Raises:
            ValueError: the offset has more than 28 bits.
        """
        if not 0 <= self.offset < 1 << OFFSET_BITS:
            raise ValueError(f"offset {self.offset} of {self.region.name} has more than 28 bits")
        return self.region << OFFSET_BITS | self.offset

    @staticmethod
    def from_word(word: int) -> "Address":
        """The address that a word holds.

        Raises:
            ValueError: region 7, which is reserved.
        """
        return Address(Region(word >> OFFSET_BITS), word & ((1 << OFFSET_BITS) - 1))

    def plus(self, num_bytes: int) -> "Address":
        """The address `num_bytes` further on."""
        return Address(self.region, self.offset + num_bytes)

    def __str__(self) -> str:
        return f"{self.region.name.lower()}+{self.offset}"
