"""The search's shortcuts: peaks from units, tilings by kind, terms by fields, are the real ones."""

import random
from collections.abc import Iterator

import pytest

from lepton_cc.codegen.npu.cascade import Cascade
from lepton_cc.codegen.npu.coding import SliceStore
from lepton_cc.codegen.npu.constant_ring import ConstantRing, Turn, Use, refused
from lepton_cc.codegen.npu.cycles import ExceedsCapacity, PacketCycles, packet_cycles
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.family import member
from lepton_cc.codegen.npu.isa.field import Coding
from lepton_cc.codegen.npu.isa.packets import FORMATS, Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.layers import ConvLayer, Layer
from lepton_cc.codegen.npu.layout import assign_layouts
from lepton_cc.codegen.npu.machine import Machine, u55_clone
from lepton_cc.codegen.npu.packet_terms import PacketTerms
from lepton_cc.codegen.npu.peak import PeakMeter
from lepton_cc.codegen.npu.place import memory_problem_of
from lepton_cc.codegen.npu.schedule import Border, Scheduler, TileMaker
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.systems.loader import load_system
from lepton_cc.codegen.npu.tasks import Blob, Rows
from lepton_cc.codegen.npu.tile import Staging, choose_tiling
from lepton_cc.ir.graph import Value
from lepton_cc.passes.memory.block import blocks_of
from lepton_cc.passes.memory.bound import peak_load
from lepton_cc.passes.memory.clearance import permissions_of
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network


def network(seed: int) -> tuple[tuple[Layer, ...], Border]:
    """A chain with residuals, tables that layers share, and weights of many sizes."""
    net = Network(seed)
    x = value = net.input(1, 24, 10, 8)
    for _ in range(6):
        kind = int(net.rng.integers(0, 5))
        channels = int(net.rng.choice((8, 24, 96)))
        if kind == 0:
            value = net.table(value)
        elif kind == 1:
            value = net.add(net.conv(value, value.type.dims[3]), value)
        elif kind == 2:
            value = net.max_pool(value, 3, 1, 1)
        else:
            value = net.conv(value, channels)
    layers = select(net.finish(value)).layers
    return layers, Border({x: Address(Region.INPUT0, 0)}, {value: Address(Region.OUTPUT0, 0)})


def cascades_of(seed: int, layers: tuple[Layer, ...]) -> Iterator[Cascade]:
    """Random runs of layers of which each reads the one before alone."""
    rng = random.Random(seed)
    readers = [value for layer in layers for value in layer.inputs]
    first = 0
    while first < len(layers):
        last = first
        while (
            last + 1 < len(layers)
            and readers.count(layers[last].result) == 1
            and layers[last + 1].inputs[0] == layers[last].result
            and rng.random() < 0.7
        ):
            last += 1
        if last > first and rng.random() < 0.8:
            stages = rng.random() < 0.3
            yield Cascade(first, last, rng.choice((1, 2, 4)), frozenset[Value](), False, stages)
        first = last + 1


@pytest.mark.parametrize("seed", range(12))
def test_peaks_are_those_of_the_memory_planner(seed: int) -> None:
    machine = machine_of(64)
    layers, border = network(seed)
    maker = TileMaker(machine, SliceStore(machine))
    layouts = assign_layouts(layers, tuple(border.inputs))
    scheduler = Scheduler(machine, layers, layouts, border, maker)
    meter = PeakMeter(maker.staged, machine.member.wbuf_bytes)
    for attempt in range(6):
        cascades = tuple(cascades_of(10 * seed + attempt, layers)) if attempt else ()
        problem = memory_problem_of(machine, scheduler.schedule(cascades))
        expected = peak_load(blocks_of(problem), permissions_of(problem))
        assert meter.of(scheduler.units(cascades), layouts) == expected


def test_a_ring_refuses_what_it_would_not_take() -> None:
    rng = random.Random(3)
    total = 0
    for _ in range(300):
        uses: list[Use] = []
        first = 0
        for _ in range(12):
            first += rng.randrange(2)
            uses.append(Use(16 * rng.randrange(1, 6), first, first + rng.choice((0, 0, 1, 4))))
        ring = ConstantRing(Address(Region.WBUF, 0), 128)
        expected = [
            index
            for index, use in enumerate(uses)
            if ring.add(Blob(bytes(use.size_bytes)), use.first, use.last) is None
        ]
        found, _ = refused(uses, Turn(), 128)
        assert found == expected
        total += len(found)
    assert total > 100


@pytest.mark.parametrize("seed", range(4))
def test_tilings_are_those_of_each_layer(seed: int) -> None:
    machine = machine_of(128)
    tilings = SliceStore(machine).tilings
    for layer in network(seed)[0]:
        if isinstance(layer, ConvLayer):
            for rows in (Rows(0, 1), Rows(5, 7), Rows(0, layer.shape.height)):
                for staging in Staging:
                    expected = choose_tiling(machine, layer, rows, staging=staging)
                    assert tilings.choose(layer, rows, staging=staging) == expected


def machines() -> tuple[Machine, ...]:
    return machine_of(64), u55_clone(128, load_system("u55-sram", member(128)))


def terms_of(machine: Machine, packet: Packet) -> PacketCycles | None:
    try:
        return packet_cycles(machine, packet)
    except ExceedsCapacity:
        return None


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE, Opcode.DMA])
@pytest.mark.parametrize("machine", machines(), ids=lambda machine: machine.profile.value)
def test_terms_follow_every_field(machine: Machine, opcode: Opcode) -> None:
    """One field after the other takes another value: what is remembered must not be given."""
    fields: dict[str, FieldValue] = {
        name: Address(Region.WBUF, 0) if field.coding is Coding.ADDRESS else 8
        for name, field in FORMATS[opcode].field_by_name.items()
    }
    flags = ("mode", "stage_mode", "encoding", "stage_encoding", "epilogue", "fill")
    fields |= {name: 0 for name in flags if name in fields}
    fields |= {"groups": 1} if "groups" in fields else {}
    terms = PacketTerms(machine)
    assert terms.of(Packet(opcode, fields)) == packet_cycles(machine, Packet(opcode, fields))
    different = 0
    for name, value in fields.items():
        others: tuple[FieldValue, ...] = (1, 3, 4)
        if isinstance(value, Address):
            others = (Address(Region.SPM, 0), Address(Region.CONSTANTS, 0))
        elif name.endswith("mode"):
            others = (len(machine.member.depthwise_modes) - 1,)
        for other in others:
            packet = Packet(opcode, {**fields, name: other})
            expected = terms_of(machine, packet)
            if expected is not None:
                assert terms.of(packet) == expected, name
                different += expected != terms.of(Packet(opcode, fields))
    assert different > 5


@pytest.mark.parametrize("kib", [2, 64])
def test_large_segments_run_as_others_do(kib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is large and does not fit, packets are made at the end, if nothing else fits."""
    monkeypatch.setattr("lepton_cc.codegen.npu.segment._MANY_PACKETS", 3)
    net = Network()
    x = net.input(1, 24, 24, 16)
    graph = net.finish(net.add(net.conv(net.conv(x, 48), 16), x))
    machine = machine_of(64).with_spm(kib * 1024)
    segment = assert_runs_as_interpreted(graph, machine)
    assert (segment.spm_bytes > machine.member.spm_bytes) == (kib == 2)
