"""What is checked before anything runs: CHECK, then the structure of each packet (section 3)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import FORMATS, Opcode
from lepton_cc.codegen.npu.isa.regions import NUM_REGIONS
from lepton_cc.codegen.npu.isa.registers import ABI_MAJOR, ABI_MINOR, Capability
from lepton_cc.codegen.npu.semantics.packet import EngineFault, HeldPacket

_NEEDED = {
    Opcode.SEPARABLE: Capability.SEPARABLE,
    Opcode.MATMUL: Capability.MATMUL,
    Opcode.TRACE: Capability.TRACE,
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What CHECK compares a stream with."""

    macs: int
    capabilities: Capability
    region_bytes: Mapping[int, int]  # of all regions that are bound, SPM and WBUF too
    writable: frozenset[int]


class StructureFault(Exception):
    """A fault at a byte offset of the stream."""

    def __init__(self, fault: EngineFault, pc: int, layer: int) -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.pc = pc
        self.layer = layer


def read_stream(stream: bytes, configuration: Configuration) -> tuple[HeldPacket, ...]:
    """The packets of a stream that the device accepts.

    Raises:
        StructureFault: it refuses.
    """
    packets: list[HeldPacket] = []
    offset = 0
    while offset < len(stream) or not packets:
        try:
            packet = _read_packet(stream, offset, len(packets), configuration.capabilities)
            if not packets:
                _check(packet, stream, configuration)
        except EngineFault as fault:
            raise StructureFault(fault, offset, _layer(stream, offset)) from fault
        packets.append(packet)
        offset += 4 * len(packet.words)
    if packets[-1].opcode is not Opcode.END:
        last = packets[-1]
        raise StructureFault(EngineFault(Fault.STREAM_END), last.offset, last.layer)
    return tuple(packets)


def _layer(stream: bytes, offset: int) -> int:
    if offset + 8 > len(stream):
        return 0
    return int(struct.unpack_from("<I", stream, offset + 4)[0]) >> 16


def _read_packet(stream: bytes, offset: int, index: int, capabilities: Capability) -> HeldPacket:
    if offset + 16 > len(stream):
        raise EngineFault(Fault.STREAM_END)
    (first,) = struct.unpack_from("<I", stream, offset)
    if index == 0 and first >> 24 != Opcode.CHECK:
        raise EngineFault(Fault.CHECK_MISSING)
    if first >> 24 not in {int(opcode) for opcode in FORMATS}:
        raise EngineFault(Fault.BAD_OPCODE)
    opcode = Opcode(first >> 24)
    format_ = FORMATS[opcode]
    if _NEEDED.get(opcode, Capability(0)) & ~capabilities:
        raise EngineFault(Fault.BAD_OPCODE)
    if first >> 16 & 0xFF != format_.words // 4:
        raise EngineFault(Fault.BAD_OPCODE)
    end = offset + 4 * format_.words
    if end > len(stream):
        raise EngineFault(Fault.STREAM_END)
    words = struct.unpack_from(f"<{format_.words}I", stream, offset)
    if words[-1] != crc32c(stream[offset : end - 4]):
        raise EngineFault(Fault.PACKET_CRC, format_.words - 1)
    if first & 0xFFFF != index % (1 << 16):
        raise EngineFault(Fault.SEQUENCE_GAP)
    for word, (value, reserved) in enumerate(zip(words, format_.reserved_masks, strict=True)):
        if value & reserved:
            raise EngineFault(Fault.RESERVED_BITS, word)
    if index and opcode is Opcode.CHECK:
        raise EngineFault(Fault.CHECK_MISSING)
    if opcode is Opcode.END and end != len(stream):
        raise EngineFault(Fault.STREAM_END)
    return HeldPacket(index, offset, opcode, words)


def _check(packet: HeldPacket, stream: bytes, configuration: Configuration) -> None:
    """What CHECK says of the device, in the order of the specification."""

    def need(ok: bool, code: Fault, name: str) -> None:
        if not ok:
            raise EngineFault(code, packet.word_of(name))

    get = packet.integer
    need(get("abi_major") == ABI_MAJOR, Fault.INCOMPATIBLE, "abi_major")
    need(get("abi_minor") <= ABI_MINOR, Fault.INCOMPATIBLE, "abi_minor")
    need(get("macs") == configuration.macs, Fault.INCOMPATIBLE, "macs")
    missing = get("capabilities") & ~int(configuration.capabilities)
    need(not missing, Fault.INCOMPATIBLE, "capabilities")
    sizes = configuration.region_bytes
    need(get("spm_bytes") <= sizes[3], Fault.REGION_TOO_SMALL, "spm_bytes")
    need(get("wbuf_bytes") <= sizes[4], Fault.REGION_TOO_SMALL, "wbuf_bytes")
    for region in range(NUM_REGIONS):
        name = f"region{region}_bytes"
        need(get(name) <= sizes.get(region, 0), Fault.REGION_TOO_SMALL, name)
    written = {region for region in range(NUM_REGIONS) if get("write_mask") >> region & 1}
    need(written <= configuration.writable, Fault.REGION_TOO_SMALL, "write_mask")
    need(get("stream_bytes") == len(stream), Fault.STREAM_END, "stream_bytes")
    rest = stream[4 * len(packet.words) :]
    need(get("stream_crc") == crc32c(rest), Fault.STREAM_END, "stream_crc")
