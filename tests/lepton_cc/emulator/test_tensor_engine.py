"""The tensor engine as a device of the control core: registers, and mastering of the core's bus."""

from collections.abc import Iterator

import pytest

from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import (
    REGISTERS,
    Control,
    Interrupt,
    RegionAttribute,
    Status,
)
from lepton_cc.emulator.devices import BOARD_NPU, MappedDevice
from lepton_cc.emulator.tensor_engine import TensorEngine
from tests.lepton_cc.npu.engine_streams import MACHINE, NOP, copy, spm, stream

OFFSETS = {register.name: register.offset for register in REGISTERS}
SRAM = 0x80000000
STREAM, OUTPUT = SRAM, SRAM + 0x8000


class Memory:
    """64 KiB of SRAM."""

    def __init__(self) -> None:
        self.content = bytearray(0x10000)
        self.reads = 0

    def read(self, address: int, size_bytes: int) -> bytes:
        first = address - SRAM
        if first < 0 or first + size_bytes > len(self.content):
            raise IndexError(address)
        self.reads += 1
        return bytes(self.content[first : first + size_bytes])

    def write(self, address: int, data: bytes) -> None:
        first = address - SRAM
        if first < 0 or first + len(data) > len(self.content):
            raise IndexError(address)
        self.content[first : first + len(data)] = data


class Core:
    """Stores and loads as firmware does them."""

    def __init__(self, device: MappedDevice, memory: Memory) -> None:
        self.device, self.memory = device, memory
        device.connect(memory)

    def store(self, name: str, value: int, region: int = 0) -> None:
        self.device.store(OFFSETS[name] + 16 * region, 4, value)

    def load(self, name: str) -> int:
        return self.device.load(OFFSETS[name], 4)

    def bind(self, region: Region, address: int, size_bytes: int) -> None:
        self.store("REGION_BASE", address, region)
        self.store("REGION_SIZE", size_bytes, region)
        self.store("REGION_ATTR", RegionAttribute.READ | RegionAttribute.WRITE, region)

    def run(self, content: bytes) -> None:
        self.memory.write(STREAM, content)
        self.bind(Region.STREAM, STREAM, len(content))
        self.store("QBASE", 0)
        self.store("QSIZE", len(content))
        self.store("CTRL", Control.RUN)


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_a_run_reads_and_writes_the_core_memory(memory: Memory) -> None:
    device = TensorEngine(MACHINE, cycles_per_access=None)
    core = Core(device, memory)
    assert device.base == BOARD_NPU
    assert device.size_bytes % 0x1000 == 0
    assert core.load("ID") == 0x4E54504C
    core.bind(Region.ARENA, OUTPUT, 256)
    core.store("IRQ_MASK", Interrupt.DONE)
    memory.content[0x8000:0x8040] = bytes(range(64))
    turn = copy(Address(Region.ARENA, 0), spm(0), 4, count1=16, source_stride1=4, target_stride1=8)
    core.run(stream(turn, copy(spm(0), Address(Region.ARENA, 128), 128)))
    assert core.load("STATUS") == Status.DONE
    assert device.interrupt
    spread = memory.content[0x8080:0x8100]
    assert [spread[i : i + 4] for i in range(0, 128, 8)] == [
        bytes(range(i, i + 4)) for i in range(0, 64, 4)
    ]
    core.store("IRQ_CLEAR", Interrupt.DONE)
    assert not device.interrupt


def test_many_rows_are_one_access(memory: Memory) -> None:
    core = Core(TensorEngine(MACHINE, cycles_per_access=None), memory)
    core.bind(Region.ARENA, OUTPUT, 0x4000)
    rows = copy(
        Address(Region.ARENA, 0), spm(0), 8, count1=500, source_stride1=20, target_stride1=8
    )
    core.run(stream(rows))
    assert core.load("STATUS") == Status.DONE
    assert memory.reads < 12


def test_a_bus_that_refuses(memory: Memory) -> None:
    core = Core(TensorEngine(MACHINE, cycles_per_access=None), memory)
    core.bind(Region.ARENA, 0x1000, 256)
    core.run(stream(copy(Address(Region.ARENA, 0), spm(0), 4)))
    assert core.load("STATUS") == Status.FAULT
    assert core.load("FAULT_CODE") == Fault.BUS_ERROR


def polls(core: Core) -> Iterator[int]:
    while (status := core.load("STATUS") & 3) == Status.RUNNING:
        yield status


def test_the_core_can_see_it_run(memory: Memory) -> None:
    core = Core(TensorEngine(MACHINE, cycles_per_access=10), memory)
    core.run(stream(NOP, NOP))
    assert len(list(polls(core))) == 3
    assert core.load("PMU_COUNT") == 2 * MACHINE.setup_cycles


def test_time_passes_while_the_core_executes(memory: Memory) -> None:
    device = TensorEngine(MACHINE)
    core = Core(device, memory)
    core.run(stream(NOP))
    assert device.is_busy
    device.advance(MACHINE.setup_cycles - 1)
    assert core.load("STATUS") & 3 == Status.RUNNING
    device.advance(1)
    assert core.load("STATUS") == Status.DONE


def test_each_run_of_the_core_starts_with_a_new_engine(memory: Memory) -> None:
    device = TensorEngine(MACHINE, cycles_per_access=None)
    core = Core(device, memory)
    core.store("QBASE", 64)
    device.emulator.scratchpad[:] = 1
    device.connect(Memory())
    assert core.load("QBASE") == 0
    assert not device.emulator.scratchpad.any()


def test_only_words_are_registers(memory: Memory) -> None:
    core = Core(TensorEngine(MACHINE, cycles_per_access=None), memory)
    core.device.store(OFFSETS["QBASE"], 1, 0x40)
    assert core.load("QBASE") == 0
    assert core.device.load(OFFSETS["ID"], 2) == 0
