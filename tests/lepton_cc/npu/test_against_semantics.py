"""The emulator against `codegen/npu/semantics`, which shares no code with it."""

import collections
import random
import struct
from dataclasses import replace

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.assemble import decode_stream
from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.semantics.device import Device
from lepton_cc.npu import Engine
from tests.codegen.npu.random_streams import RandomStream, machine_of, random_stream

MEMBERS = (64, 128, 256, 1024)
CHECK_BYTES = 144
WATCHDOG = 60_000
INTERESTING = (
    0, 1, 0xFFFFFFFF, 0x7F800000, 0x80000000, 0x30000000, 0x400000FF, 0x70000000, 0x3F800000,
)  # fmt: skip


def compare(machine: Machine, drawn: RandomStream, stream: bytes) -> Fault | None:
    """Runs a stream on both; everything must be equal. Gives the fault."""
    expected_memory, memory = drawn.memory(), drawn.memory()
    device = Device(machine, expected_memory, watchdog=WATCHDOG)
    expected = device.run(stream)
    engine = Engine(machine, memory)
    run = engine.run(stream, watchdog=WATCHDOG, record=True)
    assert (expected.fault is None) == (run.fault is None), (expected.fault, run.fault)
    if expected.fault is not None and run.fault is not None:
        wanted, found = expected.fault, run.fault
        assert (found.code, found.pc, found.layer, found.word, found.address) == (
            wanted.code, wanted.pc, wanted.layer, wanted.word, wanted.address,
        )  # fmt: skip
    counters = {counter: getattr(run.counters, counter.name.lower()) for counter in Counter}
    assert counters == dict(expected.counters)
    times = {packet.sequence: (packet.begin, packet.completion) for packet in run.packets}
    assert times == dict(expected.times)
    assert run.interrupts == expected.interrupts
    assert engine.load("IRQ_TAG") == expected.interrupt_tag
    assert memory == expected_memory
    assert np.array_equal(engine.scratchpad, device.spm)
    assert np.array_equal(engine.weight_buffer, device.wbuf)
    counted = run.counters
    assert counted.cycles == (
        counted.setup_cycles + counted.array_cycles + counted.epilogue_stalls
        + counted.spm_stalls + counted.weight_stalls + counted.token_stalls
    )  # fmt: skip
    return run.fault.code if run.fault else None


def check_random_streams(seeds: range) -> None:
    for seed in seeds:
        machine = machine_of(MEMBERS[seed % 4])
        drawn = random_stream(seed, machine)
        assert compare(machine, drawn, drawn.stream) is None, seed


def test_random_streams() -> None:
    check_random_streams(range(120))


@pytest.mark.slow
def test_many_random_streams() -> None:
    check_random_streams(range(1000, 4000))


def mutated(rng: random.Random, stream: bytes) -> bytes:
    """A stream with one or two words changed, and its CRCs mended, mostly."""
    content = bytearray(stream)
    places = [(offset, 4 * packet.format.words) for offset, packet in decode_stream(stream)]
    for _ in range(rng.choice((1, 1, 2))):
        offset, size = rng.choice(places)
        word = offset + 4 * rng.randrange(0 if rng.random() < 0.1 else 1, size // 4 - 1)
        (value,) = struct.unpack_from("<I", content, word)
        changes = (
            value ^ 1 << rng.randrange(32),
            rng.choice(INTERESTING),
            (value + rng.randint(-3, 3)) & 0xFFFFFFFF,
            value ^ (rng.getrandbits(32) & rng.getrandbits(32) & rng.getrandbits(32)),
            value & 0xFFFF0000 | rng.randrange(40),
            value & 0xFFFF | rng.randrange(40) << 16,
        )
        struct.pack_into("<I", content, word, rng.choice(changes))
        if rng.random() < 0.97:
            crc = crc32c(bytes(content[offset : offset + size - 4]))
            struct.pack_into("<I", content, offset + size - 4, crc)
    if rng.random() < 0.97:
        struct.pack_into("<I", content, 4 * 8, crc32c(bytes(content[CHECK_BYTES:])))
        struct.pack_into("<I", content, CHECK_BYTES - 4, crc32c(bytes(content[: CHECK_BYTES - 4])))
    return bytes(content)


def with_other_weights(rng: random.Random, drawn: RandomStream) -> RandomStream:
    """Some bytes of the constants changed: scales, code tables, weights, padding."""
    constants = bytearray(drawn.regions[Region.CONSTANTS])
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(constants))
        constants[place] = rng.choice((constants[place] ^ 1 << rng.randrange(8), 0, 0xFF))
    return replace(drawn, regions={**drawn.regions, Region.CONSTANTS: bytes(constants)})


def check_mutated_streams(seeds: range) -> collections.Counter[Fault | None]:
    found: collections.Counter[Fault | None] = collections.Counter()
    for seed in seeds:
        machine = machine_of(MEMBERS[seed % 4])
        drawn, rng = random_stream(seed // 8, machine), random.Random(seed)
        if rng.random() < 0.3:
            found[compare(machine, with_other_weights(rng, drawn), drawn.stream)] += 1
        else:
            found[compare(machine, drawn, mutated(rng, drawn.stream))] += 1
    return found


def test_mutated_streams() -> None:
    found = check_mutated_streams(range(400))
    assert len(found) > 8
    assert found[None] > 50


@pytest.mark.slow
def test_many_mutated_streams() -> None:
    found = check_mutated_streams(range(10_000, 20_000))
    assert len(found) > 14
