"""Reads a payload container back: what tools show of a `.lpt`, with every checksum verified."""

import struct
from collections.abc import Mapping

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.regions import NUM_REGIONS
from lepton_cc.codegen.npu.isa.registers import ABI_MAJOR, ABI_MINOR, RegionAttribute
from lepton_cc.codegen.npu.payload import (
    CONTAINER_MAJOR,
    DTYPE_CODES,
    ENTRY_BYTES,
    HEADER_BYTES,
    LAYER_BYTES,
    MAGIC,
    PORT_BYTES,
    SEGMENT_BYTES,
    Binding,
    LayerRecord,
    Payload,
    PortRecord,
    RegionBinding,
    Section,
    SegmentRecord,
)

_HEADER = struct.Struct("<IHHIIIHHIIIII16sI")
_CRC_OFFSET = 12
_REQUIRED = (Section.SEGMENTS, Section.STREAM, Section.PORTS, Section.STRINGS)
_DTYPES = {code: name for name, code in DTYPE_CODES.items()}


class PayloadError(ValueError):
    """The bytes are no payload that this version reads."""


def decode_payload(content: bytes) -> Payload:
    """What `encode_payload` was given.

    Raises:
        PayloadError: no payload, another version of it, or a checksum is wrong.
    """
    if len(content) < HEADER_BYTES:
        raise PayloadError(f"{len(content)} bytes hold no header")
    header = _HEADER.unpack_from(content)
    magic, major, _, total, checksum, abi, macs, num_sections = header[:8]
    if magic != MAGIC:
        raise PayloadError("it does not begin with LPT1")
    if major != CONTAINER_MAJOR:
        raise PayloadError(f"its container has version {major}, not {CONTAINER_MAJOR}")
    if abi >> 16 != ABI_MAJOR or abi & 0xFFFF > ABI_MINOR:
        raise PayloadError(f"its ABI is {abi >> 16}.{abi & 0xFFFF}, not {ABI_MAJOR}.{ABI_MINOR}")
    table_end = HEADER_BYTES + ENTRY_BYTES * num_sections
    if total != len(content) or table_end > total:
        raise PayloadError(f"it should have {total} bytes and has {len(content)}")
    head = content[:_CRC_OFFSET] + bytes(4) + content[_CRC_OFFSET + 4 : table_end]
    if crc32c(head) != checksum:
        raise PayloadError("the checksum of its header is wrong")
    sections = _sections(content, num_sections)
    capabilities, spm_bytes, wbuf_bytes, arena_bytes, _, model_hash, _ = header[8:]
    strings = sections[Section.STRINGS]
    return Payload(
        macs,
        capabilities,
        spm_bytes,
        wbuf_bytes,
        arena_bytes,
        model_hash,
        tuple(_segment(record) for record in _records(sections, Section.SEGMENTS, SEGMENT_BYTES)),
        sections[Section.STREAM],
        sections.get(Section.CONSTANTS, b""),
        tuple(_port(record, strings) for record in _records(sections, Section.PORTS, PORT_BYTES)),
        tuple(
            _layer(record, strings) for record in _records(sections, Section.LAYERS, LAYER_BYTES)
        ),
        sections.get(Section.TEST, b""),
    )


def _sections(content: bytes, count: int) -> Mapping[Section, bytes]:
    sections: dict[Section, bytes] = {}
    for index in range(count):
        number, offset, size, checksum = struct.unpack_from(
            "<4I", content, HEADER_BYTES + ENTRY_BYTES * index
        )
        try:
            kind = Section(number)
        except ValueError:
            raise PayloadError(f"there is no section of kind {number}") from None
        if kind in sections:
            raise PayloadError(f"two sections {kind.name}")
        sections[kind] = content[offset : offset + size]
        if len(sections[kind]) != size or crc32c(sections[kind]) != checksum:
            raise PayloadError(f"the checksum of section {kind.name} is wrong")
    missing = [kind.name for kind in _REQUIRED if kind not in sections]
    if missing:
        raise PayloadError(f"it has no section {', '.join(missing)}")
    return sections


def _records(sections: Mapping[Section, bytes], kind: Section, size: int) -> tuple[bytes, ...]:
    content = sections.get(kind, b"")
    if len(content) % size:
        raise PayloadError(f"section {kind.name} is no multiple of {size} bytes")
    return tuple(content[start : start + size] for start in range(0, len(content), size))


def _segment(record: bytes) -> SegmentRecord:
    offset, size, cycles = struct.unpack_from("<IIQ", record)
    regions = []
    for number in range(NUM_REGIONS):
        binding, index, attributes, least = struct.unpack_from("<BBHI", record, 16 + 8 * number)
        try:
            regions.append(
                RegionBinding(Binding(binding), index, RegionAttribute(attributes), least)
            )
        except ValueError as error:
            raise PayloadError(f"region {number}: {error}") from None
    return SegmentRecord(offset, size, cycles, tuple(regions))


def _port(record: bytes, strings: bytes) -> PortRecord:
    is_output, dtype, rank, _, size, name, scale, zero_point, *dims = struct.unpack(
        "<BBBBIIfi6II", record
    )
    return PortRecord(
        _string(strings, name),
        bool(is_output),
        _DTYPES.get(dtype, ""),
        tuple(dims[:rank]),
        size,
        scale,
        zero_point,
    )


def _layer(record: bytes, strings: bytes) -> LayerRecord:
    segment, layer, operation, nodes, _ = struct.unpack("<HHIII", record)
    return LayerRecord(segment, layer, _string(strings, operation), _string(strings, nodes))


def _string(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    if end < 0:
        raise PayloadError(f"no string at {offset}")
    return strings[offset:end].decode(errors="replace")
