"""Payloads for the driver's tests: random streams of one segment, and ways to change a payload."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.regions import INTERNAL, NUM_REGIONS, WRITABLE, Region
from lepton_cc.codegen.npu.isa.registers import RegionAttribute
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.payload import (
    ENTRY_BYTES,
    HEADER_BYTES,
    Binding,
    LayerRecord,
    LayerResult,
    Payload,
    PortRecord,
    RegionBinding,
    Section,
    SegmentRecord,
    encode_payload,
    test_section,
)
from lepton_cc.codegen.npu.semantics.device import Device, capabilities_of
from tests.codegen.npu.random_streams import SPM_USED, RandomStream, machine_of, random_stream

MACS = 128
ARENA_BYTES = 256
NUM_LAYERS = 100
_CRC_AT = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """A payload of one random stream, its input, and what a run gives."""

    machine: Machine
    payload: bytes
    content: RandomStream
    given: bytes
    expected: bytes
    trace: bytes
    cycles: int


def sample(seed: int, macs: int = MACS, units: int = 3) -> Sample:
    """The payload of a random stream; the NumPy semantics say what it computes."""
    machine = machine_of(macs)
    content = random_stream(seed, machine, units)
    memory = content.memory()
    run = Device(machine, memory).run(content.stream)
    assert run.fault is None, run.fault
    given, expected = content.regions[Region.INPUT0], bytes(memory[Region.OUTPUT0])
    return Sample(
        machine,
        encode_payload(payload_of(machine, content, given, expected, run.cycles)),
        content,
        given,
        expected,
        bytes(memory.get(Region.TRACE, b"")),
        run.cycles,
    )


def payload_of(
    machine: Machine, content: RandomStream, given: bytes, expected: bytes, cycles: int
) -> Payload:
    """The payload's parts."""
    bindings = tuple(_binding(region, content) for region in range(NUM_REGIONS))
    return Payload(
        macs=machine.member.macs,
        capabilities=int(capabilities_of(machine)),
        spm_bytes=4 * SPM_USED,
        wbuf_bytes=machine.member.wbuf_bytes,
        arena_bytes=ARENA_BYTES,
        model_hash=bytes(range(16)),
        segments=(SegmentRecord(0, len(content.stream), cycles, bindings),),
        stream=content.stream,
        constants=bytes(content.regions[Region.CONSTANTS]),
        ports=(
            PortRecord("image", False, "i8", (1, len(given)), len(given), 0.5, -3),
            PortRecord("scores", True, "i8", (len(expected),), len(expected), 0.25, 7),
        ),
        layers=tuple(
            LayerRecord(0, layer, f"Op{layer}", f"node/{layer}") for layer in range(NUM_LAYERS)
        ),
        test=test_section([given], [expected], [LayerResult(1, 2)]),
    )


def _binding(number: int, content: RandomStream) -> RegionBinding:
    unbound = RegionBinding(Binding.NONE, 0, RegionAttribute(0), 0)
    if number == 0:
        return RegionBinding(Binding.STREAM, 0, RegionAttribute.READ, 0)
    kinds = {
        Region.CONSTANTS: Binding.CONSTANTS,
        Region.INPUT0: Binding.INPUT,
        Region.OUTPUT0: Binding.OUTPUT,
        Region.TRACE: Binding.TRACE,
    }
    if number not in {int(region) for region in content.regions} or number in INTERNAL:
        return unbound
    region = Region(number)
    writable = RegionAttribute.WRITE if region in WRITABLE else RegionAttribute(0)
    size = len(content.regions[region])
    return RegionBinding(kinds[region], 0, RegionAttribute.READ | writable, size)


def section_place(payload: bytes, kind: Section) -> tuple[int, int, int]:
    """Offset of the entry, of the content, and the content's bytes."""
    for entry in _entries(payload):
        found, offset, size, _ = struct.unpack_from("<4I", payload, entry)
        if found == kind:
            return entry, offset, size
    raise KeyError(kind)


def _entries(payload: bytes) -> Iterator[int]:
    (count,) = struct.unpack_from("<H", payload, 22)
    return (HEADER_BYTES + ENTRY_BYTES * i for i in range(count))


def patched(payload: bytes, offset: int, content: bytes) -> bytes:
    """The payload with other bytes at an offset."""
    return payload[:offset] + content + payload[offset + len(content) :]


def repaired(payload: bytes) -> bytes:
    """The payload with right CRCs, as a malicious or broken tool could write it."""
    for entry in _entries(payload):
        _, offset, size, _ = struct.unpack_from("<4I", payload, entry)
        payload = patched(
            payload, entry + _CRC_AT, struct.pack("<I", crc32c(payload[offset : offset + size]))
        )
    (count,) = struct.unpack_from("<H", payload, 22)
    head = payload[: HEADER_BYTES + ENTRY_BYTES * count]
    checksum = crc32c(patched(head, _CRC_AT, bytes(4)))
    return patched(payload, _CRC_AT, struct.pack("<I", checksum))
