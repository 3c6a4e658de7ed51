"""Placement: what may lie where other bytes lay, checked by brute force and by running it."""

import dataclasses
import itertools

import pytest

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.hazards import HazardError, check_hazards
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.place import Places, place
from lepton_cc.codegen.npu.schedule import Schedule
from lepton_cc.codegen.npu.segment import compile_segment
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.synchronize import synchronize
from lepton_cc.codegen.npu.tasks import Blob, ComputeTask
from lepton_cc.ir.graph import Value
from tests.codegen.npu.random_networks import random_network
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network

_WBUF = 2048


def crowded(macs: int) -> Machine:
    """A machine whose weight buffer is filled many times."""
    machine = machine_of(macs)
    return dataclasses.replace(
        machine, member=dataclasses.replace(machine.member, wbuf_bytes=_WBUF)
    )


def assert_constants_stay(places: Places, schedule: Schedule) -> None:
    """No constant is loaded over one that a task from then on still reads."""
    readers: dict[Blob, list[int]] = {}
    for number, task in enumerate(schedule.tasks):
        for blob in task.blobs if isinstance(task, ComputeTask) else ():
            readers.setdefault(blob, []).append(number)
    assert {load.blob for load in places.loads} == set(readers)
    for load in places.loads:
        assert load.before <= load.first_use == min(readers[load.blob])
    for one, other in itertools.permutations(places.loads, 2):
        low = max(one.address.offset, other.address.offset)
        ends = (load.address.offset + len(load.blob.content) for load in (one, other))
        if one.address.region is not Region.WBUF or other.address.region is not Region.WBUF:
            continue
        if low < min(ends) and one.first_use <= other.first_use:
            assert max(readers[one.blob]) < other.before


@pytest.mark.parametrize("macs", [64, 256])
def test_constants_stay_until_their_last_reader(macs: int) -> None:
    machine = crowded(macs)
    rounds = 0
    for seed in range(24):
        body = random_network(seed)
        if not select(body).reasons:
            schedule = compile_segment(body, machine, ConstantPool()).schedule
            for prefetch in (False, True):
                places = place(machine, schedule, prefetch=prefetch)
                assert places.wbuf_bytes <= _WBUF
                assert_constants_stay(places, schedule)
                rounds += sum(len(load.blob.content) for load in places.loads) > 2 * _WBUF
    assert rounds > 5


@pytest.mark.parametrize("seed", [1, 5, 9, 40, 57])
def test_a_small_weight_buffer_gives_the_same_bytes(seed: int) -> None:
    assert_runs_as_interpreted(random_network(seed), crowded(256))


def address(places: Places, value: Value) -> int:
    return places.buffers[value].offset


def places_of(net: Network, *outputs: Value) -> Places:
    return assert_runs_as_interpreted(net.finish(*outputs), machine_of(128)).places


@pytest.mark.parametrize("side", ["lhs", "rhs"])
def test_a_product_takes_the_place_of_an_operand(side: str) -> None:
    net = Network()
    x, factor = net.input(1, 16, 16, 8), net.input(1, 1, 1, 8)
    y = net.mul(x, factor) if side == "lhs" else net.mul(factor, x)
    places = places_of(net, y)
    assert address(places, x) == address(places, y)


def test_a_sum_takes_the_place_of_the_residual() -> None:
    net = Network()
    x, other = net.input(1, 16, 16, 8), net.input(1, 16, 16, 8)
    y = net.add(net.conv(x, 8), other)
    assert places_of(net, y).plan.arena_bytes < 3 * x.type.size_bytes


def test_slices_of_a_sum_take_the_place_of_the_residual() -> None:
    """Weights come in several slices, each of which stores the channels that it reads."""
    net = Network()
    x = net.input(1, 16, 16, 96)
    graph = net.finish(net.add(net.conv(net.conv(x, 8, (1, 1)), 96), x))
    segment = assert_runs_as_interpreted(graph, crowded(64))
    assert len([task for task in segment.schedule.tasks if isinstance(task, ComputeTask)]) > 4
    assert segment.places.plan.arena_bytes < 16 * 16 * (96 + 96)


def test_an_operand_that_is_read_later_stays() -> None:
    net = Network()
    x = net.input(1, 16, 16, 8)
    y = net.maximum(x, net.input(1, 1, 1, 8))
    places = places_of(net, net.conv(net.mul(y, x), 4))
    assert address(places, x) != address(places, y)


@pytest.mark.parametrize("size", [1, 3])
def test_a_residual_that_is_convolved_too(size: int) -> None:
    """Its rows are read again after the same rows of the result are stored."""
    net = Network()
    x = net.input(1, 16, 8, 8)
    places_of(net, net.add(x, net.conv(x, 8, (size, size))))


def test_a_residual_that_is_a_view_of_what_is_convolved() -> None:
    net = Network()
    x = net.table(net.input(1, 16, 8, 8))
    view = net.reshape(net.reshape(x, 1, 128, 8), 1, 16, 8, 8)
    places_of(net, net.add(net.conv(x, 8), view))


def test_a_factor_that_is_a_part_of_the_other() -> None:
    """Each row of the result needs row 5 of what it would overwrite."""
    net = Network()
    x = net.table(net.input(1, 16, 8, 8))
    row = net.slice(x, (0, 5, 0, 0), (1, 1, 8, 8))
    places_of(net, net.mul(x, row))


def test_a_result_inside_a_concat() -> None:
    """The first part of a concat begins where its buffer does, but does not own it."""
    net = Network()
    x, y = net.input(1, 8, 8, 8), net.input(1, 8, 8, 8)
    z = net.mul(x, x)
    places_of(net, net.conv(net.concat(1, z, net.mul(y, y)), 4))


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (5, 3)])
def test_a_result_follows_its_input(size: int, stride: int) -> None:
    """A convolution stores its rows where rows of the input are done with."""
    net = Network()
    x = net.input(1, 32, 16, 8)
    y = net.conv(x, 8, (size, size), stride=stride)
    places = places_of(net, y)
    apart = x.type.size_bytes + y.type.size_bytes
    assert places.plan.arena_bytes < apart - y.type.size_bytes // 2


def test_tokens_are_needed() -> None:
    """The checker finds what a stream without any of its waits lacks."""
    net = Network()
    y = net.conv(net.conv(net.input(1, 16, 16, 8), 64), 64)
    packets = compile_segment(net.finish(y), machine_of(64), ConstantPool()).packets[1:]
    check_hazards(packets)
    bare = [dataclasses.replace(packet, wait=0, signal=0) for packet in packets]
    assert synchronize(bare) == list(packets)
    waiting = [number for number, packet in enumerate(packets) if packet.wait]
    assert len(waiting) > 3
    for number in waiting:
        fewer = list(packets)
        fewer[number] = dataclasses.replace(fewer[number], wait=0)
        with pytest.raises(HazardError):
            check_hazards(fewer)


def test_what_is_loaded_over_and_over_is_stored_once() -> None:
    net = Network()
    y = net.conv(net.conv(net.input(1, 32, 32, 16), 64), 64)
    pool = ConstantPool()
    machine = machine_of(64).with_spm(12 * 1024)
    segment = compile_segment(net.finish(y), machine, pool)
    loads = [
        packet
        for packet in segment.packets
        if packet.opcode is Opcode.DMA and packet.address("source").region is Region.CONSTANTS
    ]
    sources = {packet.address("source") for packet in loads}
    assert len(loads) > len(sources)
    blobs = {load.blob.content for load in segment.places.loads}
    assert len(pool.content()) < sum(map(len, blobs)) + 16 * len(blobs)


@pytest.mark.parametrize("count", [4, 5, 9])
def test_more_ports_than_regions(count: int) -> None:
    net = Network()
    parts = [net.conv(net.input(1, 4, 4, 3), 3) for _ in range(count)]
    body = net.finish(net.concat(3, *parts), *parts[1:])
    assert_runs_as_interpreted(body, machine_of(64))
