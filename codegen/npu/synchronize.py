"""Tokens: makes each packet wait for those of the other queue that it depends on.

Both queues execute in order, so a packet that waits for one of the other queue has waited for all
before that one. A token is needed only where a packet depends on a later one than its queue has
waited for already; taken in order, the k-th token of a counter is the one for the k-th wait. One
counter for each direction is enough, and waits point backwards in the stream: no deadlock. A queue
that runs far ahead waits for the other to take its tokens, of which a counter holds 255.
"""

from collections.abc import Mapping, Sequence

from lepton_cc.codegen.npu.footprint import Access, footprint
from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Queue
from lepton_cc.codegen.npu.isa.regions import INTERNAL

LOADED = 1 << 0  # signalled by the DMA queue
FREED = 1 << 1  # signalled by the compute queue

# Tokens that a queue may be ahead of the other, below what a counter holds.
MOST_AHEAD = 240

_SIGNAL = {Queue.DMA: LOADED, Queue.COMPUTE: FREED}
_OTHER = {Queue.DMA: Queue.COMPUTE, Queue.COMPUTE: Queue.DMA}


def synchronize(packets: Sequence[Packet]) -> list[Packet]:
    """The packets with their tokens, in the same order."""
    # Compute packets touch nothing outside, so that the queues meet inside only.
    accesses = [
        tuple(access for access in footprint(packet) if access.region in INTERNAL)
        for packet in packets
    ]
    least: dict[int, int] = {}
    while True:
        wanted = _dependences(packets, accesses, least)
        more = _held_back(packets, wanted)
        if all(least.get(number, -1) >= other for number, other in more.items()):
            break
        for number, other in more.items():
            least[number] = max(least.get(number, -1), other)
    waits = [0] * len(packets)
    signals = [0] * len(packets)
    for number, other in wanted.items():
        token = _SIGNAL[packets[other].format.queue]
        waits[number] |= token
        signals[other] |= token
    return [
        Packet(packet.opcode, packet.fields, packet.layer, wait, signal)
        for packet, wait, signal in zip(packets, waits, signals, strict=True)
    ]


def _dependences(
    packets: Sequence[Packet],
    accesses: Sequence[tuple[Access, ...]],
    least: Mapping[int, int],
) -> dict[int, int]:
    """Of each packet that has to wait the one of the other queue that it waits for, at `least`."""
    members: dict[Queue, list[int]] = {Queue.DMA: [], Queue.COMPUTE: []}
    waited = {Queue.DMA: -1, Queue.COMPUTE: -1}  # last packet of the other queue waited for
    wanted: dict[int, int] = {}
    for number, packet in enumerate(packets):
        queue = packet.format.queue
        if queue is Queue.BOTH:
            waited = {Queue.DMA: number, Queue.COMPUTE: number}
            continue
        known = max(waited[queue], least.get(number, -1))
        latest = _latest_conflict(accesses, members[_OTHER[queue]], accesses[number], known)
        found = known if latest is None else latest
        if found > waited[queue]:
            waited[queue] = wanted[number] = found
        members[queue].append(number)
    return wanted


def _held_back(packets: Sequence[Packet], wanted: Mapping[int, int]) -> dict[int, int]:
    """The packets that must not signal before an older token is taken, and who takes that one.

    Takers that stand later in the stream are left out: whoever ordered the packets sees to it that
    a queue is not so many packets ahead there.
    """
    held: dict[int, int] = {}
    for queue in (Queue.DMA, Queue.COMPUTE):
        pairs = [(s, taker) for taker, s in wanted.items() if packets[s].format.queue is queue]
        for (_, taker), (signaller, _) in zip(pairs, pairs[MOST_AHEAD:], strict=False):
            if taker < signaller:
                held[signaller] = taker
    return held


def _latest_conflict(
    accesses: Sequence[tuple[Access, ...]],
    candidates: Sequence[int],
    mine: tuple[Access, ...],
    waited: int,
) -> int | None:
    """The last candidate that must come before: one of the two writes what the other touches."""
    for number in reversed(candidates):
        if number <= waited:
            return None
        for region, first, end, is_write in accesses[number]:
            for other, low, high, writes in mine:
                if low < end and first < high and region == other and (is_write or writes):
                    return number
    return None
