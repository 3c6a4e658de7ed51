"""Tilings: slices that cover all channels, fit where they go, and cost what the equation says."""

import dataclasses

import pytest

from lepton_cc.codegen.npu.isa.family import FAMILY, member
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.layers import ConvLayer
from lepton_cc.codegen.npu.machine import u55_clone
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.systems.loader import load_system
from lepton_cc.codegen.npu.tasks import Rows
from lepton_cc.codegen.npu.tile import Staging, choose_tiling, weights_per_output
from lepton_cc.codegen.npu.weights.slices import CHANNEL_BYTES
from lepton_cc.ir.graph import Graph
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network

MEMBERS = tuple(chip.macs for chip in FAMILY)


def convolution(
    channels: int, outputs: int, kernel: int, *, side: int = 6, groups: int = 1
) -> tuple[Graph, ConvLayer]:
    net = Network()
    x = net.input(1, side, side, channels)
    graph = net.finish(net.conv(x, outputs, (kernel, kernel), groups=groups))
    (layer,) = select(graph).layers
    assert isinstance(layer, ConvLayer)
    return graph, layer


@pytest.mark.parametrize("macs", MEMBERS)
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel"),
    [(3, 8, 3), (64, 100, 3), (256, 70, 1), (20, 33, 5), (300, 300, 1)],
)
def test_slices_cover_all_channels(macs: int, channels: int, outputs: int, kernel: int) -> None:
    machine = machine_of(macs)
    _, layer = convolution(channels, outputs, kernel)
    tiling = choose_tiling(machine, layer, Rows(0, layer.shape.height))
    assert tiling is not None
    ends = [end for _, end in tiling.slices]
    assert [first for first, _ in tiling.slices] == [0, *ends[:-1]]
    assert ends[-1] == outputs
    channel_bytes = CHANNEL_BYTES + weights_per_output(layer)
    largest = max(end - first for first, end in tiling.slices) * channel_bytes
    assert largest <= machine.member.wbuf_bytes // 2 or not tiling.in_weight_buffer


@pytest.mark.parametrize("macs", MEMBERS)
def test_slices_begin_at_whole_tiles(macs: int) -> None:
    machine = machine_of(macs)
    _, layer = convolution(96, 200, 3)
    tiling = choose_tiling(machine, layer, Rows(0, 6))
    assert tiling is not None
    assert len(tiling.slices) > 1
    width = machine.member.modes[tiling.mode].outputs
    assert all(first % width == 0 for first, _ in tiling.slices)


def test_accumulators_limit_the_slices() -> None:
    """A pixel needs an accumulator for each channel of its slice."""
    _, layer = convolution(4, 1200, 1)
    machine = machine_of(64)
    tiling = choose_tiling(machine, layer, Rows(0, 6))
    assert tiling is not None
    most = max(end - first for first, end in tiling.slices)
    assert most * machine.member.modes[tiling.mode].columns <= machine.member.accumulators


def test_no_mode_is_faster() -> None:
    """The cycles of a tiling are those of the packets, and the least of all modes'."""
    machine = machine_of(128)
    graph, layer = convolution(24, 40, 3, side=12)
    best = choose_tiling(machine, layer, Rows(0, 12))
    assert best is not None
    for mode in machine.member.modes:
        only = dataclasses.replace(machine.member, modes=(mode,))
        alone = choose_tiling(dataclasses.replace(machine, member=only), layer, Rows(0, 12))
        assert alone is None or alone.cycles >= best.cycles
    segment = assert_runs_as_interpreted(graph, machine)
    packets = [packet for packet in segment.packets if packet.opcode is Opcode.CONV]
    assert [packet.integer("mode") for packet in packets] == [best.mode] * len(best.slices)


@pytest.mark.parametrize("macs", MEMBERS)
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "groups"),
    [(3000, 9, 1, 1), (700, 700, 1, 1), (40, 40, 5, 40), (64, 64, 5, 2), (400, 3, 5, 1)],
)
def test_weights_of_every_size_run(
    macs: int, channels: int, outputs: int, kernel: int, groups: int
) -> None:
    graph, _ = convolution(channels, outputs, kernel, side=2, groups=groups)
    assert_runs_as_interpreted(graph, machine_of(macs))


def test_a_slice_that_no_weight_buffer_holds_is_staged() -> None:
    graph, _ = convolution(3000, 9, 1, side=2)
    segment = assert_runs_as_interpreted(graph, machine_of(64))
    places = {
        packet.address("weights_address").region
        for packet in segment.packets
        if packet.opcode is Opcode.CONV
    }
    assert places == {Region.SPM}


def test_slices_are_staged_where_that_reads_the_input_less_often() -> None:
    """Slices of half the weight buffer read a wide 1x1 convolution's input many times."""
    graph, layer = convolution(384, 96, 1, side=14)
    slow = u55_clone(128, load_system("u55-sram", member(128)))
    rows = Rows(0, layer.shape.height)
    needed, faster = (choose_tiling(slow, layer, rows, staging=one) for one in Staging)
    assert needed is not None
    assert faster is not None
    assert (needed.in_weight_buffer, faster.in_weight_buffer) == (True, False)
    assert faster.cycles < needed.cycles
    segment = assert_runs_as_interpreted(graph, slow)
    places = {
        packet.address("weights_address").region
        for packet in segment.packets
        if packet.opcode is Opcode.CONV
    }
    assert Region.SPM in places
