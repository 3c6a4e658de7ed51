"""The payload container `.lpt`: what the driver loads (docs/lepton-npu.md, section 13)."""

import enum
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.regions import NUM_REGIONS
from lepton_cc.codegen.npu.isa.registers import ABI_MAJOR, ABI_MINOR, RegionAttribute

MAGIC = 0x3154504C  # "LPT1" in memory order
CONTAINER_MAJOR = 1
CONTAINER_MINOR = 0
ALIGNMENT = 16
HEADER_BYTES = 64
ENTRY_BYTES = 16
SEGMENT_BYTES = 16 + 8 * NUM_REGIONS
PORT_BYTES = 48
LAYER_BYTES = 16
MAX_RANK = 6
_MODEL_HASH_BYTES = 16
_TEST_HEAD_BYTES = 16


class Section(enum.IntEnum):
    """Kinds of sections, each at most once; SEGMENTS to PORTS and STRINGS must be there."""

    SEGMENTS = 1
    STREAM = 2
    CONSTANTS = 3
    PORTS = 4
    LAYERS = 5
    STRINGS = 6
    TEST = 7


class Binding(enum.IntEnum):
    """What the driver binds a region of a segment to."""

    NONE = 0
    STREAM = 1
    CONSTANTS = 2
    ARENA = 3
    INPUT = 4
    OUTPUT = 5
    STATE = 6
    TRACE = 7


@dataclass(frozen=True, slots=True)
class RegionBinding:
    """A region's memory: for INPUT and OUTPUT the number of the model's port; least size."""

    binding: Binding
    index: int
    attributes: RegionAttribute
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One stream: where it stands in STREAM, what it is estimated to take, its 16 regions."""

    stream_offset: int
    stream_bytes: int
    cycles: int
    regions: tuple[RegionBinding, ...]


@dataclass(frozen=True, slots=True)
class PortRecord:
    """An input or output of the model; scale 0: it is not quantized."""

    name: str
    is_output: bool
    dtype: str
    dims: tuple[int, ...]
    size_bytes: int
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A layer of a segment: its number in the packets, what it does, its ONNX nodes."""

    segment: int
    layer: int
    operation: str
    nodes: str


@dataclass(frozen=True, slots=True)
class LayerResult:
    """What a layer makes of the self-test's inputs: its bytes and their CRC-32C."""

    size_bytes: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Payload:
    """Everything of one model; `test` is the self-test's section as bytes, empty without one."""

    macs: int
    capabilities: int
    spm_bytes: int
    wbuf_bytes: int
    arena_bytes: int
    model_hash: bytes
    segments: tuple[SegmentRecord, ...]
    stream: bytes
    constants: bytes
    ports: tuple[PortRecord, ...]
    layers: tuple[LayerRecord, ...]
    test: bytes = b""

    @property
    def num_model_segments(self) -> int:
        """Segments that runs of the model use: all but the self-test's own."""
        has_results = (
            len(self.test) >= _TEST_HEAD_BYTES and struct.unpack_from("<I", self.test, 8)[0]
        )
        return len(self.segments) - (1 if has_results and len(self.segments) > 1 else 0)


class _Strings:
    """UTF-8 with a zero behind each; offset 0 is the empty one."""

    def __init__(self) -> None:
        self.content = bytearray(b"\0")
        self._offsets = {"": 0}

    def add(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = len(self.content)
            self.content += text.encode() + b"\0"
        return self._offsets[text]


DTYPE_CODES = {"i8": 1, "u8": 2, "i16": 3, "u16": 4, "i32": 5, "i64": 6, "f32": 7, "bool": 8}


def encode_payload(payload: Payload) -> bytes:
    """The container's bytes."""
    strings = _Strings()
    sections = {
        Section.SEGMENTS: b"".join(_segment(record) for record in payload.segments),
        Section.STREAM: payload.stream,
        Section.CONSTANTS: payload.constants,
        Section.PORTS: b"".join(_port(record, strings) for record in payload.ports),
        Section.LAYERS: b"".join(_layer(record, strings) for record in payload.layers),
        Section.STRINGS: b"",
        Section.TEST: payload.test,
    }
    sections[Section.STRINGS] = bytes(strings.content)
    present = [(kind, content) for kind, content in sections.items() if content]
    offset = HEADER_BYTES + ENTRY_BYTES * len(present)
    table, body = b"", b""
    for kind, content in present:
        padding = -(offset + len(body)) % ALIGNMENT
        body += bytes(padding)
        table += struct.pack("<4I", kind, offset + len(body), len(content), crc32c(content))
        body += content
    body += bytes(-(offset + len(body)) % ALIGNMENT)
    head = _header(payload, len(present), offset + len(body), 0)
    checksum = crc32c(head + table)
    return _header(payload, len(present), offset + len(body), checksum) + table + body


def _header(payload: Payload, num_sections: int, total: int, checksum: int) -> bytes:
    return struct.pack(
        "<IHHIIIHHIIIII16sI",
        MAGIC,
        CONTAINER_MAJOR,
        CONTAINER_MINOR,
        total,
        checksum,
        ABI_MAJOR << 16 | ABI_MINOR,
        payload.macs,
        num_sections,
        payload.capabilities,
        payload.spm_bytes,
        payload.wbuf_bytes,
        payload.arena_bytes,
        0,
        payload.model_hash[:_MODEL_HASH_BYTES].ljust(_MODEL_HASH_BYTES, b"\0"),
        0,
    )


def _segment(record: SegmentRecord) -> bytes:
    head = struct.pack("<IIQ", record.stream_offset, record.stream_bytes, record.cycles)
    return head + b"".join(
        struct.pack("<BBHI", r.binding, r.index, r.attributes, r.size_bytes) for r in record.regions
    )


def _port(record: PortRecord, strings: _Strings) -> bytes:
    dims = (*record.dims, *(0,) * MAX_RANK)[:MAX_RANK]
    return struct.pack(
        "<BBBBIIfi6II",
        int(record.is_output),
        DTYPE_CODES.get(record.dtype, 0),
        len(record.dims),
        0,
        record.size_bytes,
        strings.add(record.name),
        record.scale,
        record.zero_point,
        *dims,
        0,
    )


def _layer(record: LayerRecord, strings: _Strings) -> bytes:
    return struct.pack(
        "<HHIII",
        record.segment,
        record.layer,
        strings.add(record.operation),
        strings.add(record.nodes),
        0,
    )


def model_hash(content: bytes) -> bytes:
    """The first 16 bytes of the model's SHA-256."""
    return hashlib.sha256(content).digest()[:_MODEL_HASH_BYTES]


def test_section(
    inputs: Sequence[bytes], outputs: Sequence[bytes], results: Sequence[LayerResult]
) -> bytes:
    """Counts, CRC-32C of each output, bytes and CRC of each layer's result, inputs aligned to 16.

    With results, the payload's last segment is the one that stores them.
    """
    words = [crc32c(content) for content in outputs]
    for result in results:
        words += (result.size_bytes, result.checksum)
    body = struct.pack("<4I", len(inputs), len(outputs), 2 * len(results), 0)
    body += struct.pack(f"<{len(words)}I", *words)
    for content in inputs:
        body += bytes(-len(body) % ALIGNMENT) + content
    return body
