"""Random streams with one or two fields changed, sealed again so that most pass the checksums."""

import struct

import numpy as np

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.field import Field
from lepton_cc.codegen.npu.isa.packets import FORMATS, HEADER, Opcode

_CHECK_BYTES = 4 * FORMATS[Opcode.CHECK].words
_STREAM_BYTES = FORMATS[Opcode.CHECK].field_by_name["stream_bytes"].word
_STREAM_CRC = FORMATS[Opcode.CHECK].field_by_name["stream_crc"].word
_SEALS = frozenset({"stream_bytes", "stream_crc"})
_STRUCTURE = frozenset({"opcode", "length", "sequence"})

# Bounds of fields, and floats at the bounds of what a scale may be; address 0 of other regions.
_VALUES = (
    *(0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 4096, 4097, 0x7FFF, 0x8000, 0xFFFF),
    *(0xFFFFFFFF, 0x7F800000, 0x7FC00000, 1, 0x80000000, 0x7FFFFFFF, 0x3F800000, 0x00800000),
    *(0x80800000, 0x007FFFFF, 0x70000000, 0x30000000, 0x20000000, 0x40000000),
)


def mutated(stream: bytes, rng: np.random.Generator) -> bytes:
    """The stream with a few fields changed; now and then a checksum or the end is wrong too."""
    content = bytearray(stream)
    places = _packets(stream)
    for _ in range(int(rng.integers(1, 3))):
        offset, size, opcode = places[int(rng.integers(len(places)))]
        if rng.random() < 0.05:
            word = int(rng.integers(size // 4 - 1))
            struct.pack_into("<I", content, offset + 4 * word, int(rng.integers(1 << 32)))
        else:
            _change(content, offset, opcode, rng)
        if rng.random() < 0.98:
            _seal(content, offset, size)
    if rng.random() < 0.03:
        del content[4 * int(rng.integers(len(content) // 4)) :]
    if rng.random() < 0.98 and len(content) >= _CHECK_BYTES:
        struct.pack_into("<I", content, 4 * _STREAM_BYTES, len(content))
        rest = crc32c(bytes(content[_CHECK_BYTES:]))
        struct.pack_into("<I", content, 4 * _STREAM_CRC, rest)
        _seal(content, 0, _CHECK_BYTES)
    return bytes(content)


def _packets(stream: bytes) -> list[tuple[int, int, Opcode]]:
    """Offset, bytes and opcode of each packet."""
    found, offset = [], 0
    while offset < len(stream):
        size = 16 * stream[offset + 2]
        found.append((offset, size, Opcode(stream[offset + 3])))
        offset += size
    return found


def _change(content: bytearray, offset: int, opcode: Opcode, rng: np.random.Generator) -> None:
    hidden = _SEALS | (_STRUCTURE if rng.random() < 0.9 else frozenset())
    fields = [f for f in (*FORMATS[opcode].fields, *HEADER) if f.name not in hidden]
    field = fields[int(rng.integers(len(fields)))]
    place = offset + 4 * field.word
    (word,) = struct.unpack_from("<I", content, place)
    value = _other((word & field.mask) >> field.low, field, rng)
    word = word & ~field.mask | value << field.low & field.mask
    struct.pack_into("<I", content, place, word)


def _other(old: int, field: Field, rng: np.random.Generator) -> int:
    kind = rng.random()
    if kind < 0.4:
        return _VALUES[int(rng.integers(len(_VALUES)))]
    if kind < 0.7:
        return old + int(rng.integers(-3, 4))
    if kind < 0.85:
        return old ^ 1 << int(rng.integers(field.width))
    return int(rng.integers(1 << field.width))


def _seal(content: bytearray, offset: int, size: int) -> None:
    end = offset + size - 4
    struct.pack_into("<I", content, end, crc32c(bytes(content[offset:end])))
