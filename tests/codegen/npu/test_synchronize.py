"""Tokens: what they order, and how far a queue may run ahead of the other."""

import dataclasses

import pytest

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.hazards import check_hazards
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.machine import Port
from lepton_cc.codegen.npu.segment import compile_segment
from lepton_cc.codegen.npu.synchronize import synchronize
from lepton_cc.codegen.npu.timeline import MAX_TOKENS, estimate
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.small_networks import Network

_ROW = 64
_PAGE = 4096
_FAR = 1 << 26


def fill(offset: int, size: int) -> Packet:
    fields: dict[str, FieldValue] = {
        **{"target": Address(Region.SPM, offset), "run_bytes": size, "fill": 1},
        **{f"count{i}": 1 for i in (1, 2, 3)},
    }
    return Packet(Opcode.DMA, fields)


def table(source: int, target: int, width: int) -> Packet:
    fields: dict[str, FieldValue] = {
        **{"ifm_address": Address(Region.SPM, source), "ofm_address": Address(Region.SPM, target)},
        **{"ifm_row_stride": 64, "ofm_row_stride": 64, "ifm_pixel_stride": 1},
        **{"ofm_pixel_stride": 1, "height": 1, "width": width, "channels": 1},
        "table_address": Address(Region.WBUF, 0),
    }
    return Packet(Opcode.TABLE, fields)


def fast_loads(count: int, lead: int) -> list[Packet]:
    """Packet i reads what load i brings, which stands `lead` tasks before it."""
    packets = [fill(_ROW * i, 4) for i in range(lead)]
    for i in range(count):
        packets.append(table(_ROW * i, _FAR, 64))
        packets += [fill(_ROW * (i + lead), 4)] if i + lead < count else []
    return packets


def fast_packets(count: int) -> list[Packet]:
    """Each load takes longer than what frees the place that it writes."""
    packets = []
    for i in range(count):
        packets += [table(_PAGE * i, _FAR, 1), fill(_PAGE * i, _PAGE)]
    return packets


@pytest.mark.parametrize("packets", [fast_loads(700, 100), fast_packets(700)])
def test_no_queue_runs_ahead_of_what_a_counter_holds(packets: list[Packet]) -> None:
    ordered = [*synchronize(packets), Packet(Opcode.END, {})]
    assert sum(bool(packet.signal) for packet in ordered) > 2 * MAX_TOKENS
    check_hazards(ordered)
    estimate(machine_of(256), ordered)


def test_constants_are_not_loaded_further_ahead_than_tokens_go() -> None:
    """Loads take next to no time, and the weight buffer holds all of them."""
    net = Network()
    x = net.input(1, 16, 16, 8)
    for _ in range(280):
        x = net.conv(x, 8, (1, 1))
    machine = machine_of(1024)
    free = Port(1 << 16, 0)
    system = dataclasses.replace(machine.system, constants=free)
    segment = compile_segment(
        net.finish(x), dataclasses.replace(machine, system=system), ConstantPool()
    )
    assert len(segment.places.loads) > MAX_TOKENS
    segment.stream()
