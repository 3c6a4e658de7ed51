"""The driver on the emulated engine: results, polling, interrupts, faults, refusals."""

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import FORMATS, Opcode
from lepton_cc.codegen.npu.isa.registers import Counter, Interrupt
from lepton_cc.codegen.npu.payload import Section
from tests.runtime_c.npu_driver import bindings
from tests.runtime_c.npu_driver.bindings import (
    AlignedBytes,
    Device,
    Engine,
    FaultReport,
    HostBus,
    Job,
    Memory,
    Model,
    code_name,
)
from tests.runtime_c.npu_driver.payloads import (
    ARENA_BYTES,
    Sample,
    patched,
    repaired,
    sample,
    section_place,
)


@dataclass(slots=True)
class Bound:
    """A loaded payload with memory for a run."""

    engine: Engine
    model: Model
    memory: Memory
    job: Job
    payload: AlignedBytes
    given: AlignedBytes
    result: AlignedBytes
    trace: AlignedBytes
    arena: AlignedBytes
    kept: tuple[object, ...]

    def call(self, name: str, *arguments: object) -> str:
        return code_name(getattr(self.engine.library, name)(*arguments))

    def bind(self, segment: int = 0) -> str:
        return self.call(
            "lpt_bind",
            ctypes.byref(self.job),
            ctypes.byref(self.engine.device),
            ctypes.byref(self.model),
            segment,
            ctypes.byref(self.memory),
        )

    def on_job(self, name: str) -> str:
        return self.call(name, ctypes.byref(self.job))

    def counter(self, counter: Counter) -> int:
        device = ctypes.byref(self.engine.device)
        return int(self.engine.library.lpt_counter(device, ctypes.c_uint32(counter)))

    def fault(self) -> FaultReport:
        report = FaultReport()
        code = self.call("lpt_fault", ctypes.byref(self.job), ctypes.byref(report))
        assert code == "OK"
        return report


def prepare(driver: ctypes.CDLL, used: Sample, content: bytes | None = None) -> Bound:
    """Loads a payload of `used`, `content` if it was changed, without CRCs of sections."""
    engine = Engine(used.machine, driver)
    payload = AlignedBytes(used.payload if content is None else content)
    given, result = AlignedBytes(used.given), AlignedBytes(bytes(len(used.expected)))
    trace, arena = AlignedBytes(bytes(len(used.trace))), AlignedBytes(bytes(ARENA_BYTES))
    inputs = (ctypes.c_void_p * 1)(given.address)
    outputs = (ctypes.c_void_p * 1)(result.address)
    memory = Memory(
        arena.address, ARENA_BYTES, inputs, outputs, None, 0, trace.address, len(used.trace)
    )
    model = Model()
    code = driver.lpt_load_again(
        ctypes.byref(model),
        ctypes.byref(engine.device),
        ctypes.c_void_p(payload.address),
        payload.size_bytes,
    )
    assert code_name(code) == "OK"
    kept = (inputs, outputs)
    return Bound(engine, model, memory, Job(), payload, given, result, trace, arena, kept)


@pytest.fixture
def bound(driver: ctypes.CDLL, payload: Sample) -> Bound:
    return prepare(driver, payload)


def test_probe_says_what_the_engine_is(bound: Bound, payload: Sample) -> None:
    chip, device = payload.machine.member, bound.engine.device
    assert (device.macs, device.lanes) == (chip.macs, chip.lanes)
    assert (device.spm_bytes, device.wbuf_bytes) == (chip.spm_bytes, chip.wbuf_bytes)
    assert device.accumulators == chip.accumulators
    assert device.line_buffer_bytes == chip.line_buffer_bytes
    assert (device.abi_major, device.abi_minor) == (1, 0)


@pytest.mark.parametrize("macs", [64, 128, 256, 1024])
def test_computes_what_the_semantics_say(driver: ctypes.CDLL, macs: int) -> None:
    for seed in range(3):
        used = sample(seed, macs)
        bound = prepare(driver, used)
        assert bound.bind() == "OK"
        for _ in range(2):
            assert bound.on_job("lpt_invoke") == "OK"
            assert bound.result.content == used.expected
            assert bound.trace.content == used.trace
            assert bound.counter(Counter.CYCLES) == used.cycles
        assert bound.given.content == used.given
        assert bound.payload.content == used.payload
        assert bound.arena.content == bytes(ARENA_BYTES)


def test_counters_can_be_cleared(bound: Bound) -> None:
    assert bound.bind() == bound.on_job("lpt_invoke") == "OK"
    assert bound.counter(Counter.PACKETS) > 2
    bound.engine.library.lpt_clear_counters(ctypes.byref(bound.engine.device))
    assert bound.counter(Counter.PACKETS) == 0
    unknown = bound.engine.library.lpt_counter(ctypes.byref(bound.engine.device), 16)
    assert unknown == 0


def test_asynchronous_by_polling(bound: Bound, payload: Sample) -> None:
    assert bound.bind() == bound.on_job("lpt_invoke_async") == "OK"
    assert bound.on_job("lpt_poll") == "BUSY"
    assert bound.on_job("lpt_invoke_async") == "ERROR_DEVICE_BUSY"
    assert bound.bind() == "ERROR_DEVICE_BUSY"
    looks = 0
    while bound.on_job("lpt_poll") == "BUSY":
        looks += 1
    assert looks > 10
    assert bound.job.status == 0
    assert bound.result.content == payload.expected


def test_asynchronous_by_interrupt(bound: Bound, payload: Sample) -> None:
    library, host = bound.engine.library, bound.engine.host
    assert bound.bind() == "OK"
    assert library.lpt_interrupt(ctypes.byref(bound.job)) == 0
    assert bound.on_job("lpt_invoke_async") == "OK"
    raised = Interrupt(0)
    while bound.job.status == bindings.codes()["BUSY"]:
        library.lepton_host_engine_sleep(ctypes.byref(host))
        assert library.lpt_emulator_interrupt(ctypes.c_void_p(host.emulator)) == 1
        raised |= Interrupt(library.lpt_interrupt(ctypes.byref(bound.job)))
        assert library.lpt_emulator_interrupt(ctypes.c_void_p(host.emulator)) == 0
    assert Interrupt.DONE in raised
    assert bound.job.status == 0
    assert bound.result.content == payload.expected


def test_cancel_halts_and_the_engine_runs_again(bound: Bound, payload: Sample) -> None:
    assert bound.bind() == bound.on_job("lpt_invoke_async") == "OK"
    assert bound.on_job("lpt_cancel") == "ERROR_HALTED"
    assert bound.on_job("lpt_poll") == "ERROR_HALTED"
    assert bound.on_job("lpt_invoke") == "OK"
    assert bound.on_job("lpt_cancel") == "OK"
    assert bound.result.content == payload.expected


def test_a_caller_that_gives_up(bound: Bound) -> None:
    asked = []

    def give_up(_user: int | None) -> int:
        asked.append(1)
        return len(asked) == 3

    bound.engine.host.bus.wait = bindings.WAIT(give_up)
    assert bound.bind() == "OK"
    assert bound.on_job("lpt_invoke") == "ERROR_TIMEOUT"
    assert len(asked) == 3


def test_watchdog(bound: Bound, payload: Sample) -> None:
    assert bound.bind() == "OK"
    bound.job.watchdog_cycles = payload.cycles // 2
    assert bound.on_job("lpt_invoke") == "ERROR_DEVICE_FAULT"
    assert Fault(bound.fault().code) is Fault.WATCHDOG
    bound.job.watchdog_cycles = 0
    assert bound.on_job("lpt_invoke") == "OK"
    assert bound.result.content == payload.expected


def test_a_fault_names_packet_layer_and_nodes(driver: ctypes.CDLL, payload: Sample) -> None:
    stream = payload.content.stream
    offset, sequence = 4 * FORMATS[Opcode.CHECK].words, 1
    for packet in payload.content.packets:
        if packet.opcode in {Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE}:
            break
        offset += 4 * packet.format.words
        sequence += 1
    # The first word of a weight slice in the constants is a scale: not a number.
    weights = section_place(payload.payload, Section.CONSTANTS)[1]
    bound = prepare(driver, payload, patched(payload.payload, weights, b"\xff\xff\xff\x7f"))
    assert struct.unpack_from("<I", stream, offset)[0] & 0xFFFF == sequence
    assert bound.bind() == "OK"
    assert bound.on_job("lpt_invoke") == "ERROR_DEVICE_FAULT"
    report = bound.fault()
    assert driver.lpt_fault_name(report.code) == Fault(report.code).name.encode()
    assert Fault(report.code) is Fault.BAD_SCALE
    (head,) = struct.unpack_from("<I", stream, report.packet)
    assert (report.opcode, report.sequence) == (head >> 24, head & 0xFFFF)
    assert report.layer == struct.unpack_from("<I", stream, report.packet + 4)[0] >> 16
    assert report.operation == f"Op{report.layer}".encode()
    assert report.nodes == f"node/{report.layer}".encode()
    assert set(bound.result.content) == {0}
    # The next run resets the engine and gives the same fault, not a stale state.
    assert bound.on_job("lpt_invoke") == "ERROR_DEVICE_FAULT"


def test_selftest(driver: ctypes.CDLL, payload: Sample) -> None:
    def run(content: bytes, output: ctypes.c_uint32) -> str:
        bound = prepare(driver, payload, content)
        return bound.call(
            "lpt_selftest",
            ctypes.byref(bound.engine.device),
            ctypes.byref(bound.model),
            ctypes.byref(bound.memory),
            ctypes.byref(output),
        )

    output = ctypes.c_uint32(77)
    assert run(payload.payload, output) == "OK"
    assert output.value == 77
    _, test, size = section_place(payload.payload, Section.TEST)
    flipped = patched(
        payload.payload, test + size - 1, bytes([payload.payload[test + size - 1] ^ 1])
    )
    assert run(flipped, output) == "ERROR_SECTION_CRC"
    assert run(repaired(flipped), output) == "ERROR_TEST_MISMATCH"
    assert output.value == 0
    segments = section_place(payload.payload, Section.SEGMENTS)[1]
    elsewhere = patched(payload.payload, segments + 16 + 8 * 12, struct.pack("<BBHI", 3, 0, 3, 16))
    assert run(repaired(elsewhere), output) == "ERROR_NO_TEST"


Spoil = Callable[[Bound], None]


def _misalign(bound: Bound) -> None:
    bound.memory.inputs[0] = bound.given.address + 4


def _lose_output(bound: Bound) -> None:
    bound.memory.outputs[0] = None


def _lose_all(bound: Bound) -> None:
    bound.memory.inputs = ctypes.POINTER(ctypes.c_void_p)()


def _shrink_trace(bound: Bound) -> None:
    bound.memory.trace_bytes -= 1


def _refuse(bound: Bound) -> None:
    refused = bindings.TRANSLATE(lambda *_arguments: 1)
    bound.engine.host.bus.translate = refused


def _pass_pointers(bound: Bound) -> None:
    bound.engine.host.bus.translate = bindings.TRANSLATE()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_misalign, "ERROR_MISALIGNED_BUFFER"),
        (_lose_output, "ERROR_MISSING_BUFFER"),
        (_lose_all, "ERROR_MISSING_BUFFER"),
        (_shrink_trace, "ERROR_SMALL_BUFFER"),
        (_refuse, "ERROR_ADDRESS"),
    ],
)
def test_memory_that_cannot_be_bound(
    driver: ctypes.CDLL, bound: Bound, spoil: Spoil, code: str
) -> None:
    spoil(bound)
    assert bound.bind() == code
    # Nothing was written to the device.
    for region in (0, 1, 8, 12):
        emulator = ctypes.c_void_p(bound.engine.host.emulator)
        assert driver.lpt_emulator_load(emulator, 0x104 + 16 * region) == 0


def test_pointers_above_4_gib_need_a_translation(bound: Bound) -> None:
    _pass_pointers(bound)
    high = bound.given.address >> 32 != 0
    assert bound.bind() == ("ERROR_ADDRESS" if high else "OK")


def test_segments_and_arenas_that_are_not_there(driver: ctypes.CDLL, payload: Sample) -> None:
    segments = section_place(payload.payload, Section.SEGMENTS)[1]
    uses_arena = patched(
        payload.payload, segments + 16 + 8 * 2, struct.pack("<BBHI", 3, 0, 3, ARENA_BYTES)
    )
    bound = prepare(driver, payload, repaired(uses_arena))
    assert bound.bind(1) == "ERROR_NO_SEGMENT"
    bound.memory.arena_bytes -= 1
    assert bound.bind() == "ERROR_SMALL_ARENA"
    bound.memory.arena = None
    assert bound.bind() == "ERROR_MISSING_BUFFER"


def test_null_arguments(bound: Bound) -> None:
    for name in ("lpt_invoke", "lpt_invoke_async", "lpt_poll", "lpt_cancel", "lpt_reset"):
        assert bound.call(name, None) == "ERROR_NULL_ARGUMENT", name
    assert bound.call("lpt_bind", None, None, None, 0, None) == "ERROR_NULL_ARGUMENT"
    assert bound.call("lpt_selftest", None, None, None, None) == "ERROR_NULL_ARGUMENT"
    assert bound.call("lpt_fault", None, None) == "ERROR_NULL_ARGUMENT"
    assert bound.call("lpt_probe", None, None) == "ERROR_NULL_ARGUMENT"
    assert bound.engine.library.lpt_interrupt(None) == 0


def _mock(read: Callable[[int], int]) -> HostBus:
    return HostBus(
        None,
        bindings.READ32(lambda _user, offset: read(offset)),
        bindings.WRITE32(lambda _user, _offset, _value: None),
    )


def test_other_devices(driver: ctypes.CDLL) -> None:
    device = Device()
    for read, code in (
        (lambda _offset: 0, "ERROR_NO_DEVICE"),
        (lambda _offset: 0xFFFFFFFF, "ERROR_NO_DEVICE"),
        (lambda offset: 0x4E54504C if offset == 0 else 2 << 16, "ERROR_DEVICE_ABI"),
    ):
        bus = _mock(read)
        assert code_name(driver.lpt_probe(ctypes.byref(device), ctypes.byref(bus))) == code


def test_every_code_and_fault_has_words(driver: ctypes.CDLL) -> None:
    texts = {name: driver.lpt_strerror(code) for name, code in bindings.codes().items()}
    assert len(set(texts.values())) == len(texts)
    assert b"unknown code" not in texts.values()
    assert driver.lpt_strerror(-1000) == b"unknown code"
    assert [driver.lpt_fault_name(fault).decode() for fault in Fault] == [f.name for f in Fault]
    assert driver.lpt_fault_name(255) == b"unknown fault"


def test_a_device_that_does_not_reset_is_given_up(driver: ctypes.CDLL) -> None:
    device = Device(bus=ctypes.pointer(_mock(lambda _offset: 1)))
    assert code_name(driver.lpt_reset(ctypes.byref(device))) == "ERROR_DEVICE_STUCK"
