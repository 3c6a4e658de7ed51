"""lepton_npu_invoke, the call of generated code: what it runs, and the statuses that it gives."""

import ctypes
import struct

import pytest

from lepton_cc.codegen.npu.payload import Section
from lepton_cc.runtime_c.status import Status
from tests.runtime_c.npu_driver.bindings import AlignedBytes, Engine
from tests.runtime_c.npu_driver.payloads import (
    ARENA_BYTES,
    Sample,
    patched,
    repaired,
    sample,
    section_place,
)

_TRACE = 6


class Call:
    """Payload and memory of one call; a test spoils what it wants to."""

    def __init__(self, driver: ctypes.CDLL, used: Sample, content: bytes) -> None:
        self.driver = driver
        self.engine = Engine(used.machine, driver)
        self.payload = AlignedBytes(content)
        self.given = AlignedBytes(used.given)
        self.result = AlignedBytes(bytes(len(used.expected)))
        self.arena = AlignedBytes(bytes(ARENA_BYTES))
        self.inputs = (ctypes.c_void_p * 1)(self.given.address)
        self.outputs = (ctypes.c_void_p * 1)(self.result.address)

    def run(self, segment: int = 0, arena: int | None = None, payload: int | None = None) -> Status:
        self.driver.choose_bus(ctypes.byref(self.engine.host.bus))
        status = self.driver.lepton_npu_invoke(
            ctypes.c_void_p(self.payload.address if payload is None else payload),
            ctypes.c_uint32(segment),
            ctypes.c_void_p(self.arena.address if arena is None else arena),
            self.inputs,
            self.outputs,
        )
        return Status(status)


def _bound(payload: bytes, region: int, record: bytes) -> bytes:
    segments = section_place(payload, Section.SEGMENTS)[1]
    return repaired(patched(payload, segments + 16 + 8 * region, record))


def _without_trace(used: Sample) -> bytes:
    """Generated code has no memory for a trace: its region is the arena instead."""
    arena = struct.pack("<BBHI", 3, 0, 3, len(used.trace))
    return _bound(used.payload, _TRACE, arena)


@pytest.fixture
def call(driver: ctypes.CDLL, payload: Sample) -> Call:
    return Call(driver, payload, _without_trace(payload))


def test_runs(call: Call, payload: Sample) -> None:
    for _ in range(2):
        assert call.run() is Status.OK
        assert call.result.content == payload.expected
        assert call.arena.content[: len(payload.trace)] == payload.trace


def test_statuses(call: Call) -> None:
    assert call.run(arena=call.arena.address + 4) is Status.ERROR_MISALIGNED_ARENA
    assert call.run(arena=0) is Status.ERROR_NULL_ARGUMENT
    assert call.run(segment=1) is Status.ERROR_DEVICE
    assert call.run(payload=0) is Status.ERROR_NULL_ARGUMENT
    assert call.run(payload=call.given.address) is Status.ERROR_DEVICE
    call.inputs[0] = call.given.address + 8
    assert call.run() is Status.ERROR_MISALIGNED_BUFFER
    call.inputs[0] = None
    assert call.run() is Status.ERROR_NULL_ARGUMENT


def test_an_arena_that_is_not_used_may_be_anything(driver: ctypes.CDLL) -> None:
    used = sample(seed=3)
    elsewhere = struct.pack("<BBHI", 5, 0, 3, len(used.trace))
    call = Call(driver, used, _bound(used.payload, _TRACE, elsewhere))
    for arena in (0, 3):
        assert call.run(arena=arena) is Status.OK


def test_a_fault_and_the_run_behind_it(driver: ctypes.CDLL, payload: Sample) -> None:
    good = _without_trace(payload)
    weights = section_place(good, Section.CONSTANTS)[1]
    call = Call(driver, payload, patched(good, weights, b"\xff\xff\xff\x7f"))
    assert call.run() is Status.ERROR_DEVICE
    ctypes.memmove(call.payload.address, good, len(good))
    assert call.run() is Status.OK
    assert call.result.content == payload.expected


def test_a_wait_that_gives_up(call: Call, payload: Sample) -> None:
    call.engine.host.bus.wait = type(call.engine.host.bus.wait)(lambda _user: 1)
    assert call.run() is Status.ERROR_DEVICE
    call.engine.host.bus.wait = type(call.engine.host.bus.wait)()
    assert call.run() is Status.OK
    assert call.result.content == payload.expected
