"""The checker of streams (docs/lepton-npu.md, section 11): dependences hold whatever the times.

It shares no code with the scheduler. For each packet it finds how much of the other queue has
ended before the packet begins, by tokens and barriers alone; a packet of the other queue that
stands earlier in the stream and may still run must not touch what this one writes, nor the reverse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Queue
from lepton_cc.codegen.npu.touched import Touched, conflict, touched_bytes

_OTHER = {Queue.DMA: Queue.COMPUTE, Queue.COMPUTE: Queue.DMA}


class HazardError(ValueError):
    """A stream whose result depends on the times of its packets, or that may never end."""


def check_hazards(packets: Sequence[Packet]) -> None:
    """Prove a stream (CHECK may be left out): no race between the queues, and no deadlock.

    A counter must be signalled by one queue and taken by one: then its n-th wait is for the n-th
    signal, which must stand earlier in the stream.

    Raises:
        HazardError: it names both packets by their index in `packets`.
    """
    ended = _ended_before(packets)
    touched = [touched_bytes(packet) for packet in packets]
    members: dict[Queue, list[int]] = {Queue.DMA: [], Queue.COMPUTE: []}
    for number, packet in enumerate(packets):
        queue = packet.format.queue
        if queue is Queue.BOTH:
            continue
        for earlier in reversed(members[_OTHER[queue]]):
            if earlier <= ended[number]:
                break
            _check_pair(packets, touched, earlier, number)
        members[queue].append(number)


def _check_pair(
    packets: Sequence[Packet], touched: Sequence[tuple[Touched, ...]], earlier: int, later: int
) -> None:
    found = conflict(touched[earlier], touched[later])
    if found is not None:
        names = [f"packet {i} ({packets[i].opcode.name})" for i in (earlier, later)]
        raise HazardError(
            f"{names[1]} does not wait for {names[0]}: {found[1]} of the one and {found[0]} of "
            "the other share bytes"
        )


@dataclass(slots=True)
class _Counter:
    """The signals of a token counter so far, in order, and how many were taken."""

    signals: list[int] = field(default_factory=list)
    taken: int = 0
    signalled_by: set[Queue] = field(default_factory=set)
    taken_by: set[Queue] = field(default_factory=set)


def _ended_before(packets: Sequence[Packet]) -> list[int]:
    """Of each packet the last one of the other queue that has ended when it begins, -1: none.

    Of a packet of both queues all that precede it have.
    """
    counters = [_Counter() for _ in range(8)]
    latest = {Queue.DMA: -1, Queue.COMPUTE: -1}
    ended = []
    for number, packet in enumerate(packets):
        queue = packet.format.queue
        queues = (Queue.DMA, Queue.COMPUTE) if queue is Queue.BOTH else (queue,)
        for token, counter in enumerate(counters):
            if packet.wait >> token & 1:
                signal = _take(counter, token, number, packets)
                # Of its own queue all earlier ones have ended anyway.
                if queue is not Queue.BOTH and packets[signal].format.queue is not queue:
                    latest[queue] = max(latest[queue], signal)
            if packet.signal >> token & 1:
                _claim(counter.signalled_by, packet, f"packet {number} signals token {token}")
                counter.signals.append(number)
        if queue is Queue.BOTH:
            latest = dict.fromkeys(latest, number)
        ended.append(max(latest[one] for one in queues))
    return ended


def _take(counter: _Counter, token: int, number: int, packets: Sequence[Packet]) -> int:
    """The packet whose signal this wait takes."""
    name = f"packet {number} ({packets[number].opcode.name})"
    _claim(counter.taken_by, packets[number], f"{name} takes token {token}")
    if counter.taken == len(counter.signals):
        later = [i for i in range(number, len(packets)) if packets[i].signal >> token & 1]
        reason = f"packet {later[0]} signals only behind it" if later else "nobody signals"
        raise HazardError(f"{name} waits for token {token} that {reason}: deadlock")
    counter.taken += 1
    return counter.signals[counter.taken - 1]


def _claim(queues: set[Queue], packet: Packet, what: str) -> None:
    if packet.format.queue is not Queue.BOTH:
        queues.add(packet.format.queue)
    if len(queues) > 1:
        raise HazardError(f"{what}, which the other queue does too: order cannot be proved")
