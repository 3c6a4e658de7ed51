"""Packets as values, and streams of them as bytes: assembler and decoder."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.packets import FORMATS, HEADER, Opcode, PacketFormat
from lepton_cc.codegen.npu.isa.regions import Address

FieldValue = int | float | Address


class DecodeError(ValueError):
    """The bytes are no packet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet without sequence and CRC; fields that are not named are 0."""

    opcode: Opcode
    fields: Mapping[str, FieldValue]
    layer: int = 0
    wait: int = 0
    signal: int = 0

    @property
    def format(self) -> PacketFormat:
        """Length, queue and fields of the opcode."""
        return FORMATS[self.opcode]

    def integer(self, name: str) -> int:
        """The value of an integer field."""
        value = self.fields.get(name, 0)
        assert isinstance(value, int)
        return value

    def address(self, name: str) -> Address:
        """The value of an address field."""
        value = self.fields[name]
        assert isinstance(value, Address)
        return value

    def binary32(self, name: str) -> float:
        """The value of a binary32 field."""
        value = self.fields.get(name, 0.0)
        assert not isinstance(value, Address)
        return float(value)


def encode_packet(packet: Packet, sequence: int) -> bytes:
    """The packet's bytes, CRC included.

    Raises:
        ValueError: a field is unknown, or its value does not fit; the message names it.
    """
    format_ = packet.format
    words = [0] * format_.words
    header = {
        "opcode": packet.opcode,
        "length": format_.words // 4,
        "sequence": sequence % (1 << 16),
        "layer": packet.layer,
        "wait": packet.wait,
        "signal": packet.signal,
    }
    for field in HEADER:
        words[field.word] |= field.encode(header[field.name])
    for name, value in packet.fields.items():
        if name not in format_.field_by_name:
            raise ValueError(f"{packet.opcode.name} has no field {name}")
        field = format_.field_by_name[name]
        words[field.word] |= field.encode(value.word() if isinstance(value, Address) else value)
    body = struct.pack(f"<{len(words) - 1}I", *words[:-1])
    return body + struct.pack("<I", crc32c(body))


def encode_stream(check: Packet, packets: Sequence[Packet]) -> bytes:
    """CHECK with the stream's length and CRC filled in, then the packets, which end with END."""
    body = b"".join(encode_packet(packet, i + 1) for i, packet in enumerate(packets))
    length = len(body) + 4 * check.format.words
    fields = {**check.fields, "stream_bytes": length, "stream_crc": crc32c(body)}
    head = Packet(check.opcode, fields, check.layer, check.wait, check.signal)
    return encode_packet(head, 0) + body


def decode_packet(content: bytes, offset: int = 0) -> tuple[Packet, int]:
    """The packet at an offset, and the offset of the next one. Sequence and CRC are not checked.

    Raises:
        DecodeError: unknown opcode, wrong length, or the content ends too early.
    """
    if offset + 16 > len(content):
        raise DecodeError(f"content ends at {len(content)}, inside the packet at {offset}")
    (first,) = struct.unpack_from("<I", content, offset)
    try:
        opcode = Opcode(first >> 24)
    except ValueError as error:
        raise DecodeError(f"opcode {first >> 24:#04x} at {offset}") from error
    format_ = FORMATS[opcode]
    if (first >> 16 & 0xFF) * 4 != format_.words:
        raise DecodeError(f"{opcode.name} at {offset} has {first >> 16 & 0xFF} units of 16 bytes")
    if offset + 4 * format_.words > len(content):
        raise DecodeError(f"content ends at {len(content)}, inside the packet at {offset}")
    words = struct.unpack_from(f"<{format_.words}I", content, offset)
    fields: dict[str, FieldValue] = {}
    for field in format_.fields:
        value = field.decode(words[field.word])
        if field.coding is field.coding.ADDRESS:
            try:
                fields[field.name] = Address.from_word(int(value))
            except ValueError as error:
                raise DecodeError(f"{field.name} at {offset}: {error}") from error
        else:
            fields[field.name] = value
    second = words[1]
    packet = Packet(opcode, fields, second >> 16, second >> 8 & 0xFF, second & 0xFF)
    return packet, offset + 4 * format_.words


def decode_stream(content: bytes) -> Iterator[tuple[int, Packet]]:
    """(byte offset, packet) of each packet.

    Raises:
        DecodeError: see `decode_packet`.
    """
    offset = 0
    while offset < len(content):
        packet, following = decode_packet(content, offset)
        yield offset, packet
        offset = following
