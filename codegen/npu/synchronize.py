"""Tokens: makes each packet wait for those of the other queue that it depends on.

Both queues execute in order, so a packet that waits for one of the other queue has waited for all
before that one. A token is needed only where a packet depends on a later one than its queue has
waited for already; taken in order, the k-th token of a counter is the one for the k-th wait. One
counter for each direction is enough, and waits point backwards in the stream: no deadlock.
"""

import dataclasses
from collections.abc import Sequence

from lepton_cc.codegen.npu.footprint import Access, footprint
from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Queue

LOADED = 1 << 0  # signalled by the DMA queue
FREED = 1 << 1  # signalled by the compute queue

_SIGNAL = {Queue.DMA: LOADED, Queue.COMPUTE: FREED}
_OTHER = {Queue.DMA: Queue.COMPUTE, Queue.COMPUTE: Queue.DMA}


def synchronize(packets: Sequence[Packet]) -> list[Packet]:
    """The packets with their tokens, in the same order."""
    accesses = [footprint(packet) for packet in packets]
    members: dict[Queue, list[int]] = {Queue.DMA: [], Queue.COMPUTE: []}
    waited = {Queue.DMA: -1, Queue.COMPUTE: -1}  # last packet of the other queue waited for
    waits = [0] * len(packets)
    signals = [0] * len(packets)
    for number, packet in enumerate(packets):
        queue = packet.format.queue
        if queue is Queue.BOTH:
            waited = {Queue.DMA: number, Queue.COMPUTE: number}
            continue
        other = _OTHER[queue]
        wanted = _latest_conflict(accesses, members[other], accesses[number], waited[queue])
        if wanted is not None:
            waits[number] |= _SIGNAL[other]
            signals[wanted] |= _SIGNAL[other]
            waited[queue] = wanted
        members[queue].append(number)
    return [
        dataclasses.replace(packet, wait=wait, signal=signal)
        for packet, wait, signal in zip(packets, waits, signals, strict=True)
    ]


def _latest_conflict(
    accesses: Sequence[tuple[Access, ...]],
    candidates: Sequence[int],
    mine: tuple[Access, ...],
    waited: int,
) -> int | None:
    for number in reversed(candidates):
        if number <= waited:
            return None
        if any(a.conflicts(b) for a in accesses[number] for b in mine):
            return number
    return None
