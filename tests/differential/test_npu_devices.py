"""The engine's emulator in C and the device's semantics in NumPy: the same runs, to the bit.

Memories, cycles, all counters, times of every packet, interrupts and the fault registers agree,
for streams that are valid and for streams that are not.
"""

import dataclasses
from collections import Counter as Tally

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.assemble import decode_stream, encode_stream
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.isa.registers import Capability, Counter, RegionAttribute
from lepton_cc.codegen.npu.machine import Machine, Profile, parity, u55_clone
from lepton_cc.codegen.npu.semantics.device import Device, capabilities_of
from lepton_cc.npu.engine import Engine
from tests.codegen.npu.mutated_streams import mutated
from tests.codegen.npu.random_streams import SYSTEM, RandomStream, machine_of, random_stream

FaultRegisters = tuple[Fault, int, int, int, int]

WATCHDOG = 1 << 17  # a mutation may ask for hours of work


def assert_same_run(
    machine: Machine, case: RandomStream, stream: bytes, capabilities: Capability | None = None
) -> Fault:
    """Runs a stream on both; how it ended."""
    memory, emulated_memory = case.memory(), case.memory()
    device = Device(machine, memory, watchdog=WATCHDOG, capabilities=capabilities)
    engine = Engine(machine, emulated_memory, capabilities=capabilities)
    result = device.run(stream)
    run = engine.run(stream, watchdog=WATCHDOG, record=True)
    found = run.fault and dataclasses.astuple(run.fault)
    expected = result.fault and dataclasses.astuple(result.fault)
    assert found == expected
    counters = [result.counters[counter] for counter in Counter]
    assert list(dataclasses.astuple(run.counters)) == counters
    times = [(packet.pc, packet.begin, packet.completion) for packet in run.packets]
    assert times == sorted(times, key=lambda item: (item[2], item[0]))
    assert sorted(time[1:] for time in times) == sorted(result.times.values())
    assert run.interrupts == result.interrupts
    assert engine.load("IRQ_TAG") == result.interrupt_tag
    assert np.array_equal(engine.scratchpad, device.spm)
    assert np.array_equal(engine.weight_buffer, device.wbuf)
    assert emulated_memory == memory
    return result.fault.code if result.fault else Fault.NONE


def machine_for(seed: int) -> Machine:
    return machine_of((64, 128, 256, 1024)[seed % 4])


@pytest.mark.parametrize("batch", range(8))
def test_valid_streams(batch: int) -> None:
    for seed in range(25 * batch, 25 * batch + 25):
        machine = machine_for(seed)
        case = random_stream(seed, machine)
        assert assert_same_run(machine, case, case.stream) is Fault.NONE, f"seed {seed}"


@pytest.mark.parametrize("batch", range(8))
def test_mutated_streams(batch: int) -> None:
    endings: Tally[Fault] = Tally()
    for seed in range(50 * batch, 50 * batch + 50):
        machine = machine_for(seed)
        case = random_stream(seed, machine)
        stream = mutated(case.stream, np.random.default_rng(seed))
        endings[assert_same_run(machine, case, stream)] += 1
    # A batch that always ended in one way would test little.
    assert len(endings) > 5


def with_damaged_constants(case: RandomStream, rng: np.random.Generator) -> RandomStream:
    """The same stream over channel tables and weights of which a few bits are wrong."""
    constants = bytearray(case.regions[Region.CONSTANTS])
    for _ in range(int(rng.integers(1, 4))):
        constants[int(rng.integers(len(constants)))] ^= 1 << int(rng.integers(8))
    regions = {**case.regions, Region.CONSTANTS: bytes(constants)}
    return dataclasses.replace(case, regions=regions)


@pytest.mark.parametrize("batch", range(4))
def test_damaged_weights(batch: int) -> None:
    endings: Tally[Fault] = Tally()
    for seed in range(50 * batch, 50 * batch + 50):
        machine = machine_for(seed)
        case = with_damaged_constants(random_stream(seed, machine), np.random.default_rng(seed))
        endings[assert_same_run(machine, case, case.stream)] += 1
    assert set(endings) >= {Fault.NONE, Fault.WEIGHT_STREAM}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("batch", range(20))
def test_thousands_of_streams(batch: int) -> None:
    endings: Tally[Fault] = Tally()
    for seed in range(10_000 + 250 * batch, 10_250 + 250 * batch):
        machine = machine_for(seed)
        case = random_stream(seed, machine)
        assert assert_same_run(machine, case, case.stream) is Fault.NONE, f"seed {seed}"
        stream = mutated(case.stream, np.random.default_rng(seed))
        endings[assert_same_run(machine, case, stream)] += 1
        damaged = with_damaged_constants(case, np.random.default_rng(seed))
        endings[assert_same_run(machine, damaged, damaged.stream)] += 1
    assert len(endings) > 10


@pytest.mark.parametrize("profile", [Profile.PARITY, Profile.U55_CLONE])
@pytest.mark.parametrize("macs", [128, 256])
def test_other_profiles(profile: Profile, macs: int) -> None:
    machine = (parity if profile is Profile.PARITY else u55_clone)(macs, SYSTEM)
    for seed in range(12):
        case = random_stream(seed, machine)
        assert assert_same_run(machine, case, case.stream) is Fault.NONE, f"seed {seed}"


@pytest.mark.parametrize("missing", list(Capability))
def test_a_capability_that_is_missing(missing: Capability) -> None:
    machine = machine_of(64)
    capabilities = capabilities_of(machine) & ~missing
    endings: Tally[Fault] = Tally()
    for seed in range(12):
        case = random_stream(seed, machine)
        check, *rest = (packet for _, packet in decode_stream(case.stream))
        needs = {**check.fields, "capabilities": int(capabilities)}
        stream = encode_stream(dataclasses.replace(check, fields=needs), rest)
        endings[assert_same_run(machine, case, stream, capabilities)] += 1
        assert_same_run(machine, case, case.stream, capabilities)
    needed = {Fault.BAD_OPCODE, Fault.ILLEGAL_FIELD}
    assert needed & set(endings)
    assert set(endings) <= needed | {Fault.NONE}


def test_an_attribute_that_is_missing() -> None:
    machine = machine_of(128)
    case = random_stream(1, machine)
    attributes = {int(Region.OUTPUT0): RegionAttribute.READ}
    result = Device(machine, case.memory(), attributes=attributes).run(case.stream)
    engine = Engine(machine, case.memory())
    engine.bind(Region.OUTPUT0, bytearray(case.regions[Region.OUTPUT0]), writable=False)
    run = engine.run(case.stream)
    assert run.fault is not None
    assert result.fault is not None
    assert dataclasses.astuple(run.fault) == dataclasses.astuple(result.fault)
    assert run.fault.code is Fault.REGION_TOO_SMALL
