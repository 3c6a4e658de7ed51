"""The estimate: order of the queues, tokens, barriers, counters, deadlock."""

import time

import pytest

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.machine import Machine, Port, System, native
from lepton_cc.codegen.npu.timeline import TimelineError, estimate

MACHINE: Machine = native(
    128, System("test", "4 bytes a cycle, no latency", Port(64, 0), Port(64, 0))
)


def dma(num_bytes: int, wait: int = 0, signal: int = 0) -> Packet:
    """A fill of the scratchpad: 16 bytes a cycle."""
    fields: dict[str, FieldValue] = {
        "target": Address(Region.SPM, 0),
        "run_bytes": num_bytes,
        "fill": 1,
    }
    return Packet(
        Opcode.DMA, {**fields, "count1": 1, "count2": 1, "count3": 1}, wait=wait, signal=signal
    )


def load(num_bytes: int) -> Packet:
    """A copy from the constants to the scratchpad: 4 bytes a cycle."""
    fields: dict[str, FieldValue] = {
        "source": Address(Region.CONSTANTS, 0),
        "target": Address(Region.SPM, 0),
        "run_bytes": num_bytes,
        **{f"count{i}": 1 for i in (1, 2, 3)},
    }
    return Packet(Opcode.DMA, fields)


def nop(wait: int = 0, signal: int = 0) -> Packet:
    """24 cycles of the compute queue."""
    return Packet(Opcode.NOP, {}, wait=wait, signal=signal)


END = Packet(Opcode.END, {})
FENCE = Packet(Opcode.FENCE, {})


def times(*packets: Packet) -> list[tuple[int, int]]:
    timeline = estimate(MACHINE, packets)
    return list(zip(timeline.begins, timeline.completions, strict=True))


def test_queues_run_side_by_side_and_end_waits_for_both() -> None:
    assert times(dma(160), nop(), nop(), dma(1600), END) == [
        (0, 10),
        (0, 24),
        (24, 48),
        (10, 110),
        (110, 110),
    ]


def test_a_packet_waits_for_the_token_and_the_queue() -> None:
    assert times(dma(1600, signal=1), nop(wait=1), nop(), END)[1:3] == [(100, 124), (124, 148)]
    assert times(nop(), dma(160, signal=1), nop(wait=1), END)[2] == (24, 48)


def test_tokens_are_counted() -> None:
    found = times(dma(160, signal=2), dma(160, signal=2), dma(160, signal=2), nop(wait=2), END)
    assert found[3] == (10, 34)
    packets = (dma(160, signal=4), dma(1600, signal=4), nop(wait=4), nop(wait=4), END)
    assert times(*packets)[2:4] == [(10, 34), (110, 134)]


def test_of_two_that_want_a_token_at_the_same_time_the_earlier_in_the_stream_gets_it() -> None:
    found = times(nop(signal=1), dma(384), nop(wait=1, signal=1), dma(16, wait=1), END)[2:4]
    assert found == [(24, 48), (48, 49)]
    with pytest.raises(TimelineError, match=r"packet 3 \(DMA\) waits for tokens \[0\]"):
        times(nop(signal=1), dma(384), nop(wait=1), dma(16, wait=1), END)


def test_a_fence_holds_both_queues() -> None:
    assert times(dma(1600), FENCE, nop(), dma(160), END)[1:4] == [
        (100, 100),
        (100, 124),
        (100, 110),
    ]


@pytest.mark.parametrize(
    ("packets", "message"),
    [
        ((nop(wait=4), END), r"packet 0 \(NOP\) waits for tokens \[2\]"),
        ((nop(wait=1), dma(4, wait=2), END), r"packet 0 .* \[0\], packet 1 .* \[1\]"),
        ((nop(wait=1), FENCE, dma(4, signal=1), END), r"packet 1 \(FENCE\) waits for the other"),
        (tuple(nop(signal=1) for _ in range(256)), "token 0 exceeds 255 at packet 255"),
    ],
)
def test_what_cannot_run_is_named(packets: tuple[Packet, ...], message: str) -> None:
    with pytest.raises(TimelineError, match=message):
        estimate(MACHINE, packets)


def test_counters_split_the_run() -> None:
    table = Packet(
        Opcode.TABLE,
        {
            "ifm_address": Address(Region.SPM, 0),
            "ofm_address": Address(Region.SPM, 0),
            "height": 4,
            "width": 8,
            "channels": 10,
        },
    )
    counters = estimate(MACHINE, (load(400), table, END)).counters
    assert counters[Counter.CYCLES] == 100
    assert counters[Counter.SETUP_CYCLES] == 24
    assert counters[Counter.EPILOGUE_STALLS] == 40  # 320 elements by 8 lanes; 640 bytes: 40 too
    assert counters[Counter.TOKEN_STALLS] == 36
    assert counters[Counter.DMA_CYCLES] == 100
    assert counters[Counter.CONSTANT_BYTES] == 400
    assert counters[Counter.PACKETS] == 4
    assert counters[Counter.OUTPUTS] == 320


def test_thousands_of_packets_take_a_fraction_of_a_second() -> None:
    packets = [p for _ in range(1500) for p in (dma(64, wait=2, signal=1), nop(1, 2))]
    packets[0] = dma(64, signal=1)
    start = time.perf_counter()
    estimate(MACHINE, (*packets, END))
    assert time.perf_counter() - start < 1
