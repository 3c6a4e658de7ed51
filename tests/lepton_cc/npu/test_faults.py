"""Every fault that a stream can raise: where it happened, and that nothing is written."""

import struct
from collections.abc import Callable

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import Epilogue, Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import Capability, Interrupt, Status
from lepton_cc.npu import Engine, EngineFault, EngineRun
from tests.lepton_cc.npu.engine_streams import (
    END,
    FENCE,
    MACHINE,
    NOP,
    convolution,
    copy,
    engine,
    fill,
    patched,
    raw_slice,
    spm,
    stream,
    with_tokens,
)

SLICE = raw_slice(np.ones((4, 8), np.int8), 0.5, 0)
CONV = convolution((2, 2, 4), (2, 2, 8), len(SLICE))
SPM_END = MACHINE.member.spm_bytes
CHECK_BYTES = 144


def changed(packet: Packet, **fields: FieldValue) -> Packet:
    return Packet(packet.opcode, {**packet.fields, **fields}, packet.layer)


def run(content: bytes, slice_: bytes = SLICE, *, watchdog: int = 0) -> EngineRun:
    """Runs on an engine whose SPM must not change."""
    device = engine(constants=bytearray(64), arena=bytearray(64), output0=bytearray(64))
    fill(device.scratchpad, bytes(range(256)) * 8)
    fill(device.weight_buffer, slice_)
    before = device.scratchpad.copy()
    result = device.run(content, watchdog=watchdog)
    if result.fault is not None:
        assert result.status is Status.FAULT
        assert result.interrupts & Interrupt.FAULT
        assert np.array_equal(device.scratchpad, before)
    return result


def fault_of(content: bytes, slice_: bytes = SLICE, *, watchdog: int = 0) -> EngineFault:
    fault = run(content, slice_, watchdog=watchdog).fault
    assert fault is not None
    return fault


def test_the_packet_that_others_spoil_runs() -> None:
    assert run(stream(CONV)).fault is None


CHECKS: dict[str, tuple[dict[str, int], Fault, int]] = {
    "major": ({"abi_major": 2}, Fault.INCOMPATIBLE, 2),
    "minor": ({"abi_minor": 1}, Fault.INCOMPATIBLE, 2),
    "macs": ({"macs": 128}, Fault.INCOMPATIBLE, 3),
    "capabilities": ({"capabilities": 1 << 31}, Fault.INCOMPATIBLE, 4),
    "scratchpad": ({"spm_bytes": SPM_END + 1}, Fault.REGION_TOO_SMALL, 5),
    "weight buffer": ({"wbuf_bytes": 1 << 20}, Fault.REGION_TOO_SMALL, 6),
    "region": ({"region2_bytes": 65}, Fault.REGION_TOO_SMALL, 11),
    "unbound region": ({"region8_bytes": 1}, Fault.REGION_TOO_SMALL, 17),
    "read-only region": ({"write_mask": 1 << Region.CONSTANTS}, Fault.REGION_TOO_SMALL, 25),
    "reserved region": ({"write_mask": 1 << 7}, Fault.REGION_TOO_SMALL, 25),
}


@pytest.mark.parametrize("name", CHECKS)
def test_check_refuses(name: str) -> None:
    fields, code, word = CHECKS[name]
    assert fault_of(stream(CONV, **fields)) == EngineFault(code, 0, 0, word, 0)


STREAMS: dict[str, tuple[Callable[[], bytes], Fault, int]] = {
    "unknown opcode": (lambda: patched(stream(NOP), 1, 0, 0x0B040001), Fault.BAD_OPCODE, 144),
    "wrong length": (lambda: patched(stream(NOP), 1, 0, 0x02010001), Fault.BAD_OPCODE, 144),
    "sequence": (lambda: patched(stream(NOP), 1, 0, 0x00010002), Fault.SEQUENCE_GAP, 144),
    "packet CRC": (
        lambda: patched(patched(stream(NOP, NOP), 1, 3, 1, mend=False), 2, 2, 0),
        Fault.PACKET_CRC,
        144,
    ),
    "CRC of CHECK": (lambda: patched(stream(NOP), 0, 35, 1, mend=False), Fault.PACKET_CRC, 0),
    "no CHECK": (lambda: stream(NOP)[CHECK_BYTES:], Fault.CHECK_MISSING, 0),
    "two CHECKs": (
        lambda: stream(Packet(Opcode.CHECK, {"macs": 64}), NOP),
        Fault.CHECK_MISSING,
        144,
    ),
    "no END": (lambda: stream(NOP)[:-16], Fault.STREAM_END, 0),
    "stream CRC": (lambda: patched(stream(NOP), 0, 8, 7), Fault.STREAM_END, 0),
    "END too early": (lambda: stream(END, NOP), Fault.STREAM_END, 144),
    "too short": (lambda: b"", Fault.STREAM_END, 0),
    "reserved bits": (lambda: patched(stream(NOP), 1, 2, 1), Fault.RESERVED_BITS, 144),
}


@pytest.mark.parametrize("name", STREAMS)
def test_structure(name: str) -> None:
    make, code, pc = STREAMS[name]
    fault = fault_of(make())
    assert (fault.code, fault.pc) == (code, pc)


OUT = Address(Region.OUTPUT0, 0)
TABLE: dict[str, FieldValue] = {"epilogue": int(Epilogue.TABLE)}
RESIDUAL: dict[str, FieldValue] = {
    "epilogue": int(Epilogue.RESIDUAL), "residual_address": spm(0), "residual_row_stride": 16,
    "residual_pixel_stride": 8, "result_scale": 1.0, "residual_scale": 1.0,
    "add_low": -128, "add_high": 127,
}  # fmt: skip
FIELDS: dict[str, tuple[Packet, Fault, int]] = {
    "no rows": (changed(CONV, ifm_height=0), Fault.ILLEGAL_FIELD, 5),
    "map elsewhere": (changed(CONV, ifm_address=OUT), Fault.ILLEGAL_FIELD, 2),
    "overlapping pixels": (changed(CONV, ofm_pixel_stride=7), Fault.ILLEGAL_FIELD, 9),
    "kernel": (changed(CONV, kernel_height=65, kernel_width=64), Fault.ILLEGAL_FIELD, 11),
    "upsample": (changed(CONV, upsample_x=5), Fault.ILLEGAL_FIELD, 12),
    "zero point": (changed(CONV, ofm_zero_point=256), Fault.ILLEGAL_FIELD, 14),
    "clamp": (changed(CONV, clamp_low=3, clamp_high=2), Fault.ILLEGAL_FIELD, 15),
    "mode": (changed(CONV, mode=15), Fault.ILLEGAL_FIELD, 18),
    "encoding": (changed(CONV, encoding=4), Fault.ILLEGAL_FIELD, 18),
    "groups": (changed(CONV, groups=3), Fault.ILLEGAL_FIELD, 18),
    "lone flag": (changed(CONV, epilogue=2), Fault.ILLEGAL_FIELD, 18),
    "two epilogues": (changed(CONV, **{**RESIDUAL, "epilogue": 9}), Fault.ILLEGAL_FIELD, 18),
    "ring": (changed(CONV, ifm_ring_rows=1), Fault.ILLEGAL_FIELD, 27),
    "ring start": (changed(CONV, ofm_ring_rows=2, ofm_ring_start=2), Fault.ILLEGAL_FIELD, 28),
    "run of nothing": (copy(spm(0), spm(64), 0), Fault.ILLEGAL_FIELD, 4),
    "accumulators": (
        changed(CONV, ofm_channels=2048, ofm_width=1, ofm_pixel_stride=2048),
        Fault.EXCEEDS_CAPACITY,
        18,
    ),
    "scale": (changed(CONV, **{**RESIDUAL, "result_scale": 0.0}), Fault.BAD_SCALE, 22),
    "subnormal": (changed(CONV, **{**RESIDUAL, "residual_scale": 1e-40}), Fault.BAD_SCALE, 23),
    "infinite": (changed(CONV, **{**RESIDUAL, "add_offset": float("inf")}), Fault.BAD_SCALE, 24),
    "input": (changed(CONV, ifm_address=spm(SPM_END - 15)), Fault.READ_OUT_OF_BOUNDS, 2),
    "result": (changed(CONV, ofm_address=spm(SPM_END - 31)), Fault.WRITE_OUT_OF_BOUNDS, 7),
    "slice": (
        changed(CONV, weights_address=Address(Region.WBUF, 1 << 27)),
        Fault.READ_OUT_OF_BOUNDS,
        16,
    ),
    "table": (changed(CONV, **TABLE, table_address=spm(SPM_END - 255)),
              Fault.READ_OUT_OF_BOUNDS, 26),
    "backwards": (
        copy(spm(0), spm(64), 4, count1=2, source_stride1=-1),
        Fault.READ_OUT_OF_BOUNDS,
        2,
    ),
    "far": (
        copy(spm(0), spm(64), 4, count3=1 << 31, target_stride3=1 << 30),
        Fault.WRITE_OUT_OF_BOUNDS,
        3,
    ),
    "read-only": (copy(spm(0), Address(Region.CONSTANTS, 0), 4), Fault.WRITE_TO_READ_ONLY, 3),
    "misaligned slice": (
        changed(CONV, weights_address=Address(Region.WBUF, 2)),
        Fault.MISALIGNED,
        16,
    ),
    "no trace region": (Packet(Opcode.TRACE, {}), Fault.WRITE_OUT_OF_BOUNDS, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_packet(name: str) -> None:
    packet, code, word = FIELDS[name]
    fault = fault_of(stream(Packet(packet.opcode, packet.fields, layer=77)))
    assert (fault.code, fault.pc, fault.layer, fault.word) == (code, CHECK_BYTES, 77, word)


def test_reserved_region_of_a_copy() -> None:
    content = patched(stream(copy(spm(0), spm(64), 4)), 1, 3, 7 << 28)
    fault = fault_of(content)
    assert (fault.code, fault.word) == (Fault.ILLEGAL_FIELD, 3)


def with_word(word: int, value: int) -> bytes:
    content = bytearray(SLICE)
    struct.pack_into("<I", content, 4 * word, value)
    return bytes(content)


SLICES: dict[str, tuple[bytes, int, Fault]] = {
    "too short": (SLICE, len(SLICE) - 4, Fault.WEIGHT_STREAM),
    "too long": (SLICE + bytes(4), len(SLICE) + 4, Fault.WEIGHT_STREAM),
    "no room for the channels": (SLICE, 60, Fault.WEIGHT_STREAM),
    "zero scale": (with_word(2, 0), len(SLICE), Fault.BAD_SCALE),
    "negative scale": (with_word(2, 0xBF800000), len(SLICE), Fault.BAD_SCALE),
    "scale that is no number": (with_word(0, 0x7FC00000), len(SLICE), Fault.BAD_SCALE),
}


@pytest.mark.parametrize("name", SLICES)
def test_slice(name: str) -> None:
    content, size, code = SLICES[name]
    fault = fault_of(stream(changed(CONV, weights_bytes=size)), content)
    assert (fault.code, fault.word, fault.address) == (code, 16, Region.WBUF << 28)


def test_watchdog_stops_at_its_time() -> None:
    result = run(stream(NOP, NOP, CONV), watchdog=50)
    assert result.fault is not None
    assert (result.fault.code, result.fault.pc) == (Fault.WATCHDOG, 176)
    assert result.counters.cycles == 50
    assert run(stream(NOP, NOP), watchdog=49).fault is None
    late = run(stream(NOP, NOP), watchdog=48).fault
    assert late is not None
    assert late.pc == 160


def test_deadlock_names_the_first_that_waits() -> None:
    fault = fault_of(stream(with_tokens(NOP, wait=1), with_tokens(copy(spm(0), spm(9), 4), wait=2)))
    assert (fault.code, fault.pc, fault.word) == (Fault.TOKEN_DEADLOCK, CHECK_BYTES, 1)


def test_token_overflow() -> None:
    content = stream(*[with_tokens(NOP, signal=0x80)] * 256)
    fault = fault_of(content)
    assert (fault.code, fault.pc) == (Fault.TOKEN_OVERFLOW, CHECK_BYTES + 16 * 255)
    assert run(stream(*[with_tokens(NOP, signal=0x80)] * 255)).fault is None


def test_bus_error() -> None:
    device = engine(output0=bytearray(64))
    device.store("REGION_SIZE", 128, index=Region.OUTPUT0)  # more than the bus has
    fault = device.run(stream(FENCE, copy(spm(0), Address(Region.OUTPUT0, 48), 32))).fault
    assert fault is not None
    assert (fault.code, fault.word) == (Fault.BUS_ERROR, 3)
    assert fault.address == Region.OUTPUT0 << 28 | 48


@pytest.mark.parametrize(
    ("missing", "packet", "code"),
    [
        (Capability.MATMUL, Packet(Opcode.MATMUL, {}), Fault.BAD_OPCODE),
        (Capability.SEPARABLE, Packet(Opcode.SEPARABLE, {}), Fault.BAD_OPCODE),
        (Capability.TRACE, Packet(Opcode.TRACE, {}), Fault.BAD_OPCODE),
        (Capability.INT4_WEIGHTS, changed(CONV, encoding=1), Fault.ILLEGAL_FIELD),
        (Capability.CODED_WEIGHTS, changed(CONV, encoding=3), Fault.ILLEGAL_FIELD),
        (Capability.RINGS, changed(CONV, ifm_ring_rows=2), Fault.ILLEGAL_FIELD),
    ],
)
def test_what_the_device_lacks(missing: Capability, packet: Packet, code: Fault) -> None:
    everything = Capability(sum(Capability))
    device = Engine(MACHINE, capabilities=everything & ~missing)
    result = device.run(stream(packet))
    assert result.fault is not None
    assert result.fault.code is code
    refused = device.run(stream(NOP, capabilities=int(missing))).fault
    assert refused is not None
    assert refused.code is Fault.INCOMPATIBLE
