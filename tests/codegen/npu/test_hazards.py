"""The checker of streams: what it accepts has one result, what races it names."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc.codegen.npu.hazards import HazardError, check_hazards
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet, encode_stream
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.machine import Port
from lepton_cc.codegen.npu.semantics.device import Device
from lepton_cc.codegen.npu.touched import touched_bytes
from tests.codegen.npu.random_streams import check_packet, machine_of, random_stream

END, FENCE = Packet(Opcode.END, {}), Packet(Opcode.FENCE, {})


def fill(offset: int, size: int = 64, wait: int = 0, signal: int = 0) -> Packet:
    fields: dict[str, FieldValue] = {
        **{"target": Address(Region.SPM, offset), "run_bytes": size, "fill": 1, "fill_byte": 7},
        **{"count1": 1, "count2": 1, "count3": 1},
    }
    return Packet(Opcode.DMA, fields, wait=wait, signal=signal)


def table(source: int, target: int, wait: int = 0, signal: int = 0) -> Packet:
    """TABLE of 2 rows of 16 bytes, 32 bytes apart."""
    fields: dict[str, FieldValue] = {
        **{f"{m}fm_row_stride": 32 for m in "io"},
        **{f"{m}fm_pixel_stride": 4 for m in "io"},
        **{"ifm_address": Address(Region.SPM, source), "ofm_address": Address(Region.SPM, target)},
        **{"height": 2, "width": 4, "channels": 4, "table_address": Address(Region.WBUF, 0)},
    }
    return Packet(Opcode.TABLE, fields, wait=wait, signal=signal)


ACCEPTED = {
    "nothing shared": (fill(0), table(64, 128), END),
    "between the rows": (fill(16, 16), fill(48, 16), table(0, 128), END),
    "token": (fill(0, signal=1), table(0, 128, wait=1), END),
    "by an earlier wait": (fill(0), fill(64, signal=1), table(64, 128, wait=1), table(0, 128), END),
    "by a later signal": (fill(0), fill(512, signal=1), table(0, 128, wait=1), END),
    "write after read": (table(0, 128, signal=2), fill(0, wait=2), END),
    "fence": (fill(0), FENCE, table(0, 128), END),
    "same queue": (fill(0), fill(0), END),
    "both read": (table(0, 128), table(0, 256), END),
    "second token": (
        fill(0, signal=1),
        fill(64, signal=1),
        table(0, 128, wait=1),
        table(64, 128, wait=1),
        END,
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_ordered_is_accepted(name: str) -> None:
    check_hazards(ACCEPTED[name])


REFUSED = {
    "read after write": ((fill(0), table(0, 128), END), r"packet 1 \(TABLE\).*packet 0 \(DMA\)"),
    "write after read": ((table(0, 128), fill(0), END), r"packet 1 \(DMA\).*packet 0 \(TABLE\)"),
    "write after write": ((table(0, 128), fill(128), END), r"target spm\+128..192 .* ofm spm\+128"),
    "second row": ((fill(32, 1), table(0, 128), END), "packet 1"),
    "token of an earlier one": (
        (fill(64, signal=1), fill(0), table(0, 128, wait=1), END),
        r"packet 2 \(TABLE\) does not wait for packet 1",
    ),
    "ring row": (
        (
            fill(0, 4),
            dataclasses.replace(
                table(0, 512),
                fields={**table(0, 512).fields, "ifm_ring_rows": 4, "ifm_ring_start": 3},
            ),
            END,
        ),
        "packet 1",
    ),
    "deadlock": ((table(0, 128, wait=1), fill(0, signal=1), END), "packet 1 signals only behind"),
    "nobody signals": ((table(0, 128, wait=1), END), "nobody signals"),
    "own signal": ((table(0, 128, wait=1, signal=1), END), "packet 0 signals only behind"),
    "two signal": ((fill(0, signal=1), table(64, 128, signal=1), END), "the other queue does too"),
    "two take": (
        (fill(0, signal=1), table(64, 128, wait=1), fill(512, wait=1), END),
        "the other queue does too",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_races_or_hangs_is_refused(name: str) -> None:
    packets, message = REFUSED[name]
    with pytest.raises(HazardError, match=message):
        check_hazards(packets)


def without_a_token(packets: tuple[Packet, ...], rng: np.random.Generator) -> tuple[Packet, ...]:
    """The packets without one of their tokens, or without one of their fences."""
    waiting = [i for i, p in enumerate(packets) if p.wait]
    fences = [i for i, p in enumerate(packets) if p.opcode is Opcode.FENCE]
    chosen = int(rng.choice(waiting + fences))
    if chosen in fences:
        return packets[:chosen] + packets[chosen + 1 :]
    mask = packets[chosen].wait
    changed = [
        dataclasses.replace(p, wait=p.wait & ~mask, signal=p.signal & ~mask) for p in packets
    ]
    return tuple(changed)


def final_state(case_seed: int, packets: tuple[Packet, ...], rates: tuple[int, int]) -> bytes:
    """The scratchpad after a run in a system of these rates."""
    base = machine_of(64)
    constants, system = (Port(rate, 3) for rate in rates)
    around = dataclasses.replace(base.system, constants=constants, system=system)
    machine = dataclasses.replace(base, system=around)
    case = random_stream(case_seed, machine)
    device = Device(machine, case.memory())
    device.run(encode_stream(check_packet(machine, case.regions), packets))
    return device.spm.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_result_that_depends_on_rates_is_refused(seed: int) -> None:
    case = random_stream(seed, machine_of(64))
    packets = without_a_token(case.packets, np.random.default_rng(seed))
    results = {final_state(seed, packets, rates) for rates in ((1, 1), (4096, 4096), (1, 4096))}
    try:
        check_hazards(packets)
    except HazardError:
        return
    assert len(results) == 1


@pytest.mark.parametrize("seed", range(30))
def test_random_streams_touch_only_what_is_said(seed: int) -> None:
    """Bytes of the scratchpad that change are written by some packet."""
    machine = machine_of(128)
    case = random_stream(seed, machine)
    device = Device(machine, case.memory())
    before = device.spm.copy()
    device.run(case.stream)
    changed = np.flatnonzero(device.spm != before)
    written = np.zeros(device.spm.size, np.bool_)
    for packet in case.packets:
        for touched in touched_bytes(packet):
            if touched.writes and touched.region is Region.SPM:
                for start in touched.starts:
                    written[start : start + touched.size] = True
    assert written[changed].all()


@pytest.mark.parametrize("seed", range(60))
def test_random_streams_are_proved(seed: int) -> None:
    check_hazards(random_stream(seed, machine_of(256)).packets)
