"""A packet as the device holds it: its words, read through the tables of the encoding."""

from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.field import Coding
from lepton_cc.codegen.npu.isa.packets import FORMATS, Opcode, PacketFormat
from lepton_cc.codegen.npu.isa.regions import OFFSET_BITS, RESERVED_REGION, Address


class EngineFault(Exception):
    """The engine stops; `word` of the packet and `address` (as a word) say where."""

    def __init__(self, code: Fault, word: int = 0, address: int = 0) -> None:
        super().__init__(f"{code.name} in word {word}")
        self.code = code
        self.word = word
        self.address = address


@dataclass(frozen=True, slots=True)
class HeldPacket:
    """A packet of known opcode and right length, at a byte offset of its stream."""

    index: int
    offset: int
    opcode: Opcode
    words: tuple[int, ...]

    @property
    def format(self) -> PacketFormat:
        """Length, queue and fields of the opcode."""
        return FORMATS[self.opcode]

    @property
    def sequence(self) -> int:
        """Bits 15:0 of word 0."""
        return self.words[0] & 0xFFFF

    @property
    def layer(self) -> int:
        """Bits 31:16 of word 1."""
        return self.words[1] >> 16

    @property
    def wait(self) -> int:
        """Mask of counters to take one from."""
        return self.words[1] >> 8 & 0xFF

    @property
    def signal(self) -> int:
        """Mask of counters to add one to."""
        return self.words[1] & 0xFF

    def has(self, name: str) -> bool:
        """Whether the opcode has a field of this name."""
        return name in self.format.field_by_name

    def word_of(self, name: str) -> int:
        """The index of the word that holds a field."""
        return self.format.field_by_name[name].word

    def raw(self, name: str) -> int:
        """The word that holds a field."""
        return self.words[self.word_of(name)]

    def integer(self, name: str) -> int:
        """The value of an integer field."""
        return int(self.format.field_by_name[name].decode(self.raw(name)))

    def binary32(self, name: str) -> float:
        """The value of a binary32 field."""
        return self.format.field_by_name[name].decode(self.raw(name))

    def region(self, name: str) -> int:
        """Bits 31:28 of an address."""
        return self.raw(name) >> OFFSET_BITS

    def offset_of(self, name: str) -> int:
        """Bits 27:0 of an address."""
        return self.raw(name) & ((1 << OFFSET_BITS) - 1)

    def as_packet(self) -> Packet:
        """The packet as the cycle equation takes it; an address in no region is left out."""
        fields: dict[str, FieldValue] = {}
        for field in self.format.fields:
            if field.coding is not Coding.ADDRESS:
                fields[field.name] = field.decode(self.words[field.word])
            elif self.region(field.name) != RESERVED_REGION:
                fields[field.name] = Address.from_word(self.words[field.word])
        return Packet(self.opcode, fields, self.layer, self.wait, self.signal)
