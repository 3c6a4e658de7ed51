"""The payload reader gives back what was written, and sees every byte that changed."""

import dataclasses
import struct

import pytest

from lepton_cc.codegen.npu.isa.registers import RegionAttribute
from lepton_cc.codegen.npu.payload import (
    ENTRY_BYTES,
    HEADER_BYTES,
    Binding,
    LayerRecord,
    Payload,
    PortRecord,
    RegionBinding,
    SegmentRecord,
    encode_payload,
)
from lepton_cc.codegen.npu.payload_reader import PayloadError, decode_payload

REGIONS = tuple(
    RegionBinding(Binding.INPUT if i == 8 else Binding.NONE, i % 3, RegionAttribute.READ, 16 * i)
    for i in range(16)
)
PAYLOAD = Payload(
    macs=256,
    capabilities=3,
    spm_bytes=4096,
    wbuf_bytes=64,
    arena_bytes=512,
    model_hash=bytes(range(16)),
    segments=(SegmentRecord(0, 32, 77, REGIONS), SegmentRecord(32, 16, 5_000_000_000, REGIONS)),
    stream=bytes(range(48)),
    constants=b"abc",
    ports=(
        PortRecord("größe", False, "i8", (1, 2, 3), 6, 0.25, -7),
        PortRecord("logits", True, "f32", (10,), 40),
    ),
    layers=(LayerRecord(0, 1, "ConvLayer", "conv_1+relu_1"), LayerRecord(1, 1, "PoolLayer", "")),
    test=b"test",
)


def test_reads_what_was_written() -> None:
    assert decode_payload(encode_payload(PAYLOAD)) == PAYLOAD


def test_sections_that_may_be_absent() -> None:
    small = dataclasses.replace(PAYLOAD, constants=b"", layers=(), test=b"")
    assert decode_payload(encode_payload(small)) == small


def test_every_changed_byte_is_seen() -> None:
    content = encode_payload(PAYLOAD)
    count = struct.unpack_from("<H", content, 22)[0]
    covered = set(range(HEADER_BYTES + ENTRY_BYTES * count))
    for index in range(count):
        _, offset, size, _ = struct.unpack_from("<4I", content, HEADER_BYTES + ENTRY_BYTES * index)
        covered |= set(range(offset, offset + size))
    for position in sorted(covered):
        changed = bytearray(content)
        changed[position] ^= 0x10
        with pytest.raises(PayloadError):
            decode_payload(bytes(changed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "no header"),
        (lambda content: b"ELF!" + content[4:], "LPT1"),
        (lambda content: content[:-16], "should have"),
        (lambda content: content[:4] + b"\x09" + content[5:], "version 9"),
    ],
)
def test_says_what_is_wrong(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(PayloadError, match=message):
        decode_payload(change(encode_payload(PAYLOAD)))
