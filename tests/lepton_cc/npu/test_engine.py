"""The engine as its host sees it: registers, runs, tokens, interrupts, memories."""

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import (
    ABI_MAJOR,
    ID_VALUE,
    Capability,
    Control,
    Counter,
    Interrupt,
    RegionAttribute,
    Status,
)
from lepton_cc.npu import Engine
from tests.codegen.npu.random_streams import machine_of, random_stream
from tests.lepton_cc.npu.engine_streams import (
    FENCE,
    MACHINE,
    NOP,
    SYSTEM,
    copy,
    engine,
    spm,
    stream,
    with_tokens,
)
from tests.lepton_cc.npu.test_cycles import MACHINES

SETUP = MACHINE.setup_cycles


@pytest.mark.parametrize("name", MACHINES)
def test_capabilities(name: str) -> None:
    machine = MACHINES[name]
    device, chip = Engine(machine), machine.member
    assert device.load("ID") == ID_VALUE
    assert device.load("ABI") >> 16 == ABI_MAJOR
    assert bool(device.load("CAPS0") & Capability.SEPARABLE) == machine.separable
    assert device.load("CAPS1") == chip.macs | chip.lanes << 16
    assert device.load("CAPS2") == chip.spm_bytes >> 10 | chip.wbuf_bytes >> 10 << 16
    assert device.load("CAPS3") == chip.accumulators | chip.line_buffer_bytes >> 10 << 16


def test_regions_of_the_engine_cannot_be_moved() -> None:
    device = engine()
    for region in (Region.SPM, Region.WBUF, 7):
        before = device.load("REGION_SIZE", index=region)
        device.store("REGION_BASE", 4096, index=region)
        device.store("REGION_SIZE", 4096, index=region)
        assert device.load("REGION_BASE", index=region) == 0
        assert device.load("REGION_SIZE", index=region) == before
    assert device.load("REGION_SIZE", index=Region.SPM) == MACHINE.member.spm_bytes
    device.store("REGION_BASE", 0x12345678, index=Region.STATE)
    assert device.load("REGION_BASE", index=Region.STATE) == 0x12345670
    with pytest.raises(ValueError, match="inside"):
        device.bind(Region.SPM, bytearray(16))


def test_memories_that_cannot_be_bound() -> None:
    device = engine()
    with pytest.raises(ValueError, match="contiguous"):
        device.bind(Region.INPUT0, np.zeros((4, 4), np.int8)[:, ::2])
    with pytest.raises(ValueError, match="read-only"):
        device.bind(Region.OUTPUT0, bytes(16), writable=True)
    device.bind(Region.OUTPUT0, bytes(16))
    attributes = device.load("REGION_ATTR", index=Region.OUTPUT0)
    assert attributes == RegionAttribute.READ


def test_a_run_clears_counters_and_keeps_memories() -> None:
    device = engine(input0=np.arange(64, dtype=np.uint8))
    first = device.run(stream(copy(Address(Region.INPUT0, 0), spm(100), 64), NOP, NOP))
    assert first.status is Status.DONE
    assert first.interrupts is Interrupt.DONE
    second = device.run(stream(NOP))
    assert second.counters.setup_cycles == SETUP
    assert second.counters.cycles == SETUP
    assert np.array_equal(device.scratchpad[100:164], np.arange(64))


def test_a_stream_behind_others() -> None:
    """QBASE: offsets are those of region 0."""
    device = engine()
    wanted = stream(NOP, FENCE, NOP)
    device.bind(Region.STREAM, bytes(160) + wanted + bytes(64))
    device.start(len(wanted), begin=160)
    device.advance(1 << 30)
    assert device.status is Status.DONE
    assert device.load("QREAD") == 160 + len(wanted) - 16
    device.start(len(wanted), begin=168)
    assert device.fault is not None
    assert device.fault.code is Fault.MISALIGNED


def test_a_stream_outside_its_region() -> None:
    device = engine()
    content = stream(NOP)
    device.bind(Region.STREAM, content)
    device.start(len(content) + 16)
    assert device.fault is not None
    assert device.fault.code is Fault.READ_OUT_OF_BOUNDS


def test_time_passes_as_it_is_told() -> None:
    device = engine()
    content = stream(NOP, copy(spm(0), spm(64), 64), NOP)
    device.bind(Region.STREAM, content)
    device.start(len(content))
    assert device.load("STATUS") == Status.RUNNING
    device.advance(1)
    assert device.load("STATUS") == Status.RUNNING | 1 << 8 | 1 << 9
    device.store("QSIZE", 4)  # ignored: it runs
    assert device.load("QSIZE") == len(content)
    device.advance(SETUP)
    assert device.counters.packets == 3
    assert device.counters.cycles == SETUP + 1
    assert device.advance(SETUP) is Status.DONE


def test_halt_ends_what_has_begun() -> None:
    device = engine()
    content = stream(NOP, NOP, NOP)
    device.bind(Region.STREAM, content)
    device.start(len(content))
    device.advance(SETUP + 1)
    device.store("CTRL", Control.HALT)
    assert device.status is Status.IDLE
    assert device.counters.packets == 3
    assert device.counters.cycles == 2 * SETUP
    assert not device.load("IRQ_RAW")
    assert device.run(content).status is Status.DONE


def test_a_run_halts_the_one_before() -> None:
    device = engine()
    content = stream(*[NOP] * 9)
    device.bind(Region.STREAM, content)
    device.start(len(content))
    device.advance(SETUP + 1)
    assert device.run(stream(NOP)).counters.packets == 3


def test_after_a_fault_only_a_reset_helps() -> None:
    device = engine(output0=bytearray(64))
    device.scratchpad[:] = 7
    content = stream(NOP)
    broken = bytearray(content)
    broken[2] ^= 1
    assert device.run(bytes(broken)).status is Status.FAULT
    device.store("CTRL", Control.RUN)
    assert device.status is Status.FAULT
    device.store("IRQ_MASK", Interrupt.FAULT)
    assert device.interrupt
    device.store("IRQ_CLEAR", Interrupt.FAULT)
    assert device.load("IRQ_RAW") == 0
    device.reset()
    assert device.load("STATUS") == Status.IDLE
    assert device.fault is None
    assert not device.scratchpad.any()
    assert device.load("REGION_SIZE", index=Region.OUTPUT0) == 64
    assert device.load("IRQ_MASK") == 0
    assert device.run(content).status is Status.DONE


def test_interrupts() -> None:
    device = engine(trace=bytearray(32))
    trace = [Packet(Opcode.TRACE, {"tag": tag}, layer=3) for tag in range(2)]
    run = device.run(stream(trace[0], Packet(Opcode.IRQ, {"tag": 0xABCD1234}), trace[1]))
    assert run.interrupts == Interrupt.DONE | Interrupt.USER | Interrupt.TRACE_FULL
    assert device.load("IRQ_TAG") == 0xABCD1234
    assert not device.interrupt
    device.store("IRQ_MASK", Interrupt.USER)
    assert device.interrupt


def test_trace_is_a_ring() -> None:
    memory = np.zeros(40, np.uint8)
    device = engine(trace=memory)
    traces = [Packet(Opcode.TRACE, {"tag": 100 + i}, layer=i) for i in range(3)]
    run = device.run(stream(*traces))
    words = memory[:32].view("<u4").reshape(2, 4)
    assert words.tolist() == [
        [2 << 16 | 3, 102, 3 * SETUP, 0],
        [1 << 16 | 2, 101, 2 * SETUP, 0],
    ]
    assert not memory[32:].any()
    assert run.counters.system_write_bytes == 48


def test_tokens_order_two_queues() -> None:
    load = with_tokens(copy(Address(Region.INPUT0, 0), spm(0), 64), signal=1)
    device = engine(input0=np.ones(64, np.uint8))
    run = device.run(stream(load, NOP, with_tokens(NOP, wait=1, signal=2), FENCE), record=True)
    by_place = {packet.sequence: packet for packet in run.packets}
    transfer = SYSTEM.system.latency + 64 * 16 // SYSTEM.system.rate
    assert (by_place[1].begin, by_place[1].completion) == (0, transfer)
    assert (by_place[2].begin, by_place[2].completion) == (0, SETUP)
    assert (by_place[3].begin, by_place[3].completion) == (transfer, transfer + SETUP)
    assert by_place[4].begin == by_place[4].completion == transfer + SETUP
    assert run.counters.token_stalls == transfer - SETUP
    assert run.counters.cycles == transfer + SETUP


@pytest.mark.parametrize("seed", range(12))
def test_counters_split_the_run(seed: int) -> None:
    """Of what retires each term is charged once; the rest of the time are TOKEN_STALLS."""
    machine = machine_of((64, 128, 256, 1024)[seed % 4])
    case = random_stream(seed, machine)
    run = Engine(machine, case.memory()).run(case.stream, record=True)
    assert run.fault is None
    counters, compute = run.counters, [p for p in run.packets if p.opcode is not Opcode.DMA]
    busy = sum(packet.completion - packet.begin for packet in compute)
    assert counters.setup_cycles == sum(packet.cycles.setup for packet in compute)
    assert counters.array_cycles == sum(packet.cycles.array for packet in compute)
    stalls = counters.epilogue_stalls + counters.spm_stalls + counters.weight_stalls
    assert counters.setup_cycles + counters.array_cycles + stalls == busy
    assert counters.token_stalls == counters.cycles - busy
    assert counters.dma_cycles == sum(packet.cycles.transfer for packet in run.packets)
    assert counters.macs == sum(packet.cycles.macs for packet in compute)
    assert counters.packets == len(run.packets)
    assert counters.cycles == run.packets[-1].completion


def test_of_two_that_want_a_token_the_earlier_gets_it() -> None:
    device = engine()
    give = with_tokens(NOP, signal=1)
    taker = with_tokens(copy(spm(0), spm(64), 4), wait=1)
    run = device.run(stream(give, with_tokens(NOP, wait=1, signal=1), taker), record=True)
    order = [packet.sequence for packet in run.packets]
    assert order == [0, 1, 2, 3, 4]


def test_packets_are_recorded_only_if_asked_for() -> None:
    device = engine()
    content = stream(NOP)
    assert [packet.opcode for packet in device.run(content, record=True).packets] == [
        Opcode.CHECK, Opcode.NOP, Opcode.END
    ]  # fmt: skip
    assert device.run(content).packets == ()


def test_registers_that_are_not_there() -> None:
    device = engine()
    for offset in (0x001, 0x03C, 0x04E, 0x200, 0xFFC):
        device._emulator.store(offset, 0xFFFFFFFF)
        assert device._emulator.load(offset) == 0
    assert device.status is Status.IDLE


def test_counter_reset() -> None:
    device = engine()
    device.run(stream(NOP))
    assert device.counters.packets == 3
    device.store("PMU_CTRL", 1)
    assert not any(device.load("PMU_COUNT", index=counter) for counter in Counter)
