"""When each packet of a stream begins and ends, by the rule of the two queues and their tokens.

This is the compiler's estimate: cycles.py gives the duration of a packet, nothing is executed.
The device's own count is the same (docs/lepton-npu.md, section 4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.cycles import PacketCycles
from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Opcode, Queue
from lepton_cc.codegen.npu.isa.regions import INTERNAL, Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.packet_terms import PacketTerms

NUM_TOKENS = 8
MAX_TOKENS = 255
TRACE_BYTES = 16
_CONSTANTS = frozenset({Region.STREAM, Region.CONSTANTS})


class TimelineError(ValueError):
    """No device can run the stream to its end: TOKEN_DEADLOCK or TOKEN_OVERFLOW."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times in cycles from RUN on; `begins[i]` and `completions[i]` are of packet i."""

    begins: tuple[int, ...]
    completions: tuple[int, ...]
    terms: tuple[PacketCycles, ...]
    counters: Mapping[Counter, int]

    @property
    def cycles(self) -> int:
        """Completion of the last packet: the counter CYCLES."""
        return self.counters[Counter.CYCLES]


def estimate(
    machine: Machine, packets: Sequence[Packet], known: PacketTerms | None = None
) -> Timeline:
    """Times and counters of a stream; CHECK, which takes no time, may be left out.

    `known`: terms on this machine, which other streams share.

    Raises:
        TimelineError: a queue waits for tokens that nobody signals, or a counter overflows.
        ExceedsCapacity: see `packet_cycles`.
    """
    known = PacketTerms(machine) if known is None else known
    terms = tuple(known.of(packet) for packet in packets)
    clock = _Clock(packets, terms)
    clock.run()
    return Timeline(
        tuple(clock.begins), tuple(clock.completions), terms, _count(packets, terms, clock.now)
    )


class _Clock:
    """The two queues while time goes on."""

    def __init__(self, packets: Sequence[Packet], terms: Sequence[PacketCycles]) -> None:
        self.now = 0
        self.begins = [0] * len(packets)
        self.completions = [0] * len(packets)
        self._packets = packets
        self._terms = terms
        self._queues = tuple(
            [i for i, packet in enumerate(packets) if packet.format.queue in (queue, Queue.BOTH)]
            for queue in (Queue.DMA, Queue.COMPUTE)
        )
        self._heads = [0, 0]
        self._running: list[int | None] = [None, None]
        self._tokens = [0] * NUM_TOKENS

    def run(self) -> None:
        """Execute to the end of both queues."""
        while True:
            while self._begin_any():
                pass
            busy = [i for i in self._running if i is not None]
            if not busy:
                break
            self.now = min(self.completions[i] for i in busy)
            for i in sorted(i for i in busy if self.completions[i] == self.now):
                self._running[self._running.index(i)] = None
                self._signal(i)
        waiting = [i for i in (self._head(0), self._head(1)) if i is not None]
        if waiting:
            raise TimelineError(self._deadlock(waiting))

    def _head(self, queue: int) -> int | None:
        order, position = self._queues[queue], self._heads[queue]
        return order[position] if position < len(order) else None

    def _begin_any(self) -> bool:
        """Begin one packet that can, that which comes first in the stream."""
        heads = (self._head(0), self._head(1))
        ready = [
            (i, queue)
            for queue, i in enumerate(heads)
            if i is not None and self._running[queue] is None and self._has_tokens(i)
        ]
        for i, queue in sorted(ready):
            barrier = self._packets[i].format.queue is Queue.BOTH
            if barrier and (heads[0] != heads[1] or self._running != [None, None]):
                continue
            self._begin(i, (0, 1) if barrier else (queue,))
            return True
        return False

    def _begin(self, i: int, queues: tuple[int, ...]) -> None:
        for token in _bits(self._packets[i].wait):
            self._tokens[token] -= 1
        self.begins[i] = self.now
        self.completions[i] = self.now + self._terms[i].total
        for queue in queues:
            self._heads[queue] += 1
        if len(queues) == 2:
            self._signal(i)
        else:
            self._running[queues[0]] = i

    def _has_tokens(self, i: int) -> bool:
        return all(self._tokens[token] for token in _bits(self._packets[i].wait))

    def _signal(self, i: int) -> None:
        for token in _bits(self._packets[i].signal):
            self._tokens[token] += 1
            if self._tokens[token] > MAX_TOKENS:
                raise TimelineError(f"token {token} exceeds {MAX_TOKENS} at packet {i}")

    def _deadlock(self, waiting: Sequence[int]) -> str:
        parts = []
        for i in sorted(set(waiting)):
            missing = [t for t in _bits(self._packets[i].wait) if not self._tokens[t]]
            what = f"tokens {missing}" if missing else "the other queue"
            parts.append(f"packet {i} ({self._packets[i].opcode.name}) waits for {what}")
        return "deadlock: " + ", ".join(parts)


_BITS = tuple(tuple(b for b in range(NUM_TOKENS) if mask >> b & 1) for mask in range(256))


def _bits(mask: int) -> tuple[int, ...]:
    return _BITS[mask]


def _count(
    packets: Sequence[Packet], terms: Sequence[PacketCycles], cycles: int
) -> dict[Counter, int]:
    """The counters of section 8."""
    counters = dict.fromkeys(Counter, 0)
    counters[Counter.CYCLES] = cycles
    counters[Counter.PACKETS] = 1 + sum(packet.opcode is not Opcode.CHECK for packet in packets)
    for packet, term in zip(packets, terms, strict=True):
        if packet.opcode is Opcode.DMA:
            counters[Counter.DMA_CYCLES] += term.total
            _count_transfer(packet, counters)
        else:
            _count_compute(term, counters)
            counters[Counter.SYSTEM_WRITE_BYTES] += TRACE_BYTES * (packet.opcode is Opcode.TRACE)
    busy = (
        Counter.SETUP_CYCLES,
        Counter.ARRAY_CYCLES,
        Counter.EPILOGUE_STALLS,
        Counter.SPM_STALLS,
        Counter.WEIGHT_STALLS,
    )
    counters[Counter.TOKEN_STALLS] = cycles - sum(counters[counter] for counter in busy)
    return counters


def _count_compute(term: PacketCycles, counters: dict[Counter, int]) -> None:
    counters[Counter.SETUP_CYCLES] += term.setup
    counters[Counter.ARRAY_CYCLES] += term.array
    slowest = max(term.epilogue, term.scratchpad, term.weights)
    if slowest > term.array:
        if slowest == term.epilogue:
            stall = Counter.EPILOGUE_STALLS
        elif slowest == term.scratchpad:
            stall = Counter.SPM_STALLS
        else:
            stall = Counter.WEIGHT_STALLS
        counters[stall] += slowest - term.array
    counters[Counter.MACS] += term.macs
    counters[Counter.SPM_BYTES] += term.scratchpad_bytes
    counters[Counter.WEIGHTS_DECODED] += term.weights_decoded
    counters[Counter.OUTPUTS] += term.outputs


def _count_transfer(packet: Packet, counters: dict[Counter, int]) -> None:
    get = packet.integer
    moved = get("run_bytes") * get("count1") * get("count2") * get("count3")
    if not get("fill"):
        source = packet.address("source").region
        if source in _CONSTANTS:
            counters[Counter.CONSTANT_BYTES] += moved
        elif source not in INTERNAL:
            counters[Counter.SYSTEM_READ_BYTES] += moved
    if packet.address("target").region not in INTERNAL:
        counters[Counter.SYSTEM_WRITE_BYTES] += moved
