"""The device: memories, the two queues with their tokens, time, faults, counters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from lepton_cc.codegen.npu.cycles import ExceedsCapacity, PacketCycles, packet_cycles
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import Opcode, Queue
from lepton_cc.codegen.npu.isa.regions import WRITABLE, Region
from lepton_cc.codegen.npu.isa.registers import (
    DEFAULT_WATCHDOG,
    Capability,
    Counter,
    Interrupt,
    RegionAttribute,
)
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.semantics.counters import Counters
from lepton_cc.codegen.npu.semantics.legality import check_scales, check_values
from lepton_cc.codegen.npu.semantics.memory import (
    TRACE_BYTES,
    Memories,
    Memory,
    check_operands,
)
from lepton_cc.codegen.npu.semantics.packet import EngineFault, HeldPacket
from lepton_cc.codegen.npu.semantics.pointwise import (
    run_dma,
    run_elementwise,
    run_matmul,
    run_table,
)
from lepton_cc.codegen.npu.semantics.structure import Configuration, StructureFault, read_stream
from lepton_cc.codegen.npu.semantics.window import run_convolution, run_pool

_NUM_TOKENS = 8
_MAX_TOKENS = 255
_READ_WRITE = RegionAttribute.READ | RegionAttribute.WRITE
_SIDES = (Queue.DMA, Queue.COMPUTE)


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """What the fault registers show: code, FAULT_PC, FAULT_INFO, FAULT_ADDR."""

    code: Fault
    pc: int
    layer: int
    word: int
    address: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `times[i]`: begin and completion of packet i, if it was retired."""

    fault: FaultRecord | None
    cycles: int
    counters: Mapping[Counter, int]
    times: Mapping[int, tuple[int, int]]
    interrupts: Interrupt
    interrupt_tag: int


def capabilities_of(machine: Machine) -> Capability:
    """What a machine can do: all, but an array that is not ours has no SEPARABLE."""
    every = Capability((1 << len(Capability)) - 1)
    return every if machine.separable else every & ~Capability.SEPARABLE


class Device:
    """A member of the family with memory bound to its regions.

    `regions` are written in place. SPM and WBUF may be given; else they are made, filled with 0.
    `attributes`: of the regions that are not what their kind usually is; `capabilities`: other
    ones than the machine's.
    """

    def __init__(
        self,
        machine: Machine,
        regions: Mapping[Region, bytearray | Memory],
        *,
        attributes: Mapping[int, RegionAttribute] | None = None,
        watchdog: int = 0,
        capabilities: Capability | None = None,
    ) -> None:
        self.machine = machine
        self.capabilities = capabilities_of(machine) if capabilities is None else capabilities
        self.watchdog = watchdog or DEFAULT_WATCHDOG
        bound: dict[int, Memory] = {
            Region.SPM: np.zeros(machine.member.spm_bytes, np.uint8),
            Region.WBUF: np.zeros(machine.member.wbuf_bytes, np.uint8),
        }
        for region, content in regions.items():
            bound[region] = np.frombuffer(content, np.uint8)
        usual: dict[int, RegionAttribute] = {
            region: _READ_WRITE if region in WRITABLE else RegionAttribute.READ for region in Region
        }
        self._content = bound
        usual.update(attributes or {})
        self._attributes = usual

    @property
    def spm(self) -> Memory:
        """The scratchpad."""
        return self._content[Region.SPM]

    @property
    def wbuf(self) -> Memory:
        """The weight buffer."""
        return self._content[Region.WBUF]

    def run(self, stream: bytes) -> RunResult:
        """Run a stream, which becomes region STREAM, from QBASE 0."""
        self._content[Region.STREAM] = np.frombuffer(stream, np.uint8)
        attributes = {region: self._attributes[region] for region in self._content}
        memories = Memories(self._content, attributes)
        writable = {r for r, a in attributes.items() if a & RegionAttribute.WRITE}
        sizes = {region: content.size for region, content in self._content.items()}
        configuration = Configuration(
            self.machine.member.macs, self.capabilities, sizes, frozenset(writable)
        )
        run = _Run(self.machine, memories, self.capabilities, self.watchdog)
        try:
            packets = read_stream(stream, configuration)
        except StructureFault as error:
            fault = error.fault
            run.fault = FaultRecord(fault.code, error.pc, error.layer, fault.word, fault.address)
            return run.result()
        run.execute(packets)
        return run.result()


@dataclass(slots=True)
class _Side:
    """One of the two queues: the packets that it has to begin, and the one that it executes."""

    waiting: list[HeldPacket]  # the next one last
    running: HeldPacket | None = None
    completion: int = 0

    @property
    def head(self) -> HeldPacket | None:
        return self.waiting[-1] if self.waiting else None


@dataclass(slots=True)
class _Run:
    machine: Machine
    memories: Memories
    capabilities: Capability
    watchdog: int
    now: int = 0
    tokens: list[int] = field(default_factory=lambda: [0] * _NUM_TOKENS)
    fault: FaultRecord | None = None
    counters: Counters = field(default_factory=Counters)
    begins: dict[int, int] = field(default_factory=dict)
    times: dict[int, tuple[int, int]] = field(default_factory=dict)
    terms: dict[int, PacketCycles] = field(default_factory=dict)
    interrupts: Interrupt = field(default_factory=lambda: Interrupt(0))
    interrupt_tag: int = 0
    traced: int = 0

    def result(self) -> RunResult:
        if self.fault is not None:
            self.interrupts |= Interrupt.FAULT
        counters = self.counters.at(self.now)
        return RunResult(
            self.fault, self.now, counters, self.times, self.interrupts, self.interrupt_tag
        )

    def execute(self, packets: tuple[HeldPacket, ...]) -> None:
        """Run to END or to the first fault."""
        sides = [
            _Side([p for p in reversed(packets) if p.format.queue in (queue, Queue.BOTH)])
            for queue in _SIDES
        ]
        while self.fault is None and (sides[0].waiting or sides[1].waiting):
            ready = self._next(sides)
            if ready is not None:
                self._guard(ready, lambda p: self._begin(p, sides))
            elif any(side.running for side in sides):
                self._advance(sides)
            else:
                heads = [side.head for side in sides if side.head is not None]
                first = min(heads, key=lambda packet: packet.index)
                self._stop(first, EngineFault(Fault.TOKEN_DEADLOCK, 1))

    def _next(self, sides: list[_Side]) -> HeldPacket | None:
        """The packet that begins now, if any: the first in the stream of those that can."""
        candidates = []
        for side in sides:
            packet = side.head
            if packet is None or side.running is not None:
                continue
            if any(packet.wait >> i & 1 and not self.tokens[i] for i in range(_NUM_TOKENS)):
                continue
            if packet.format.queue is Queue.BOTH:
                idle = all(s.running is None and s.head is packet for s in sides)
                if not idle:
                    continue
            candidates.append(packet)
        return min(candidates, key=lambda packet: packet.index, default=None)

    def _guard(self, packet: HeldPacket, step: Callable[[HeldPacket], None]) -> None:
        try:
            step(packet)
        except EngineFault as fault:
            self._stop(packet, fault)

    def _stop(self, packet: HeldPacket, fault: EngineFault) -> None:
        self.fault = FaultRecord(fault.code, packet.offset, packet.layer, fault.word, fault.address)

    def _begin(self, packet: HeldPacket, sides: list[_Side]) -> None:
        check_values(packet, self.machine.member, self.capabilities)
        check_scales(packet)
        try:
            terms = packet_cycles(self.machine, packet.as_packet())
        except ExceedsCapacity as error:
            raise EngineFault(Fault.EXCEEDS_CAPACITY, packet.word_of("mode")) from error
        check_operands(packet, self.memories)
        for i in range(_NUM_TOKENS):
            self.tokens[i] -= packet.wait >> i & 1
        self.terms[packet.index] = terms
        self.begins[packet.index] = self.now
        for side in sides:
            if side.head is packet:
                side.waiting.pop()
                if packet.format.queue is not Queue.BOTH:
                    side.running = packet
                    side.completion = self.now + terms.total
        if packet.format.queue is Queue.BOTH:
            self._complete(packet)

    def _advance(self, sides: list[_Side]) -> None:
        """Go on to the next completion, and complete what ends then."""
        time = min(side.completion for side in sides if side.running)
        ending = [side for side in sides if side.running and side.completion == time]
        ending.sort(key=lambda side: side.running.index if side.running else 0)
        self.now = min(time, self.watchdog)
        for side in ending:
            packet, side.running = side.running, None
            assert packet is not None
            if time >= self.watchdog:
                self._stop(packet, EngineFault(Fault.WATCHDOG))
            else:
                self._guard(packet, self._complete)
            if self.fault is not None:
                return

    def _complete(self, packet: HeldPacket) -> None:
        signals = [i for i in range(_NUM_TOKENS) if packet.signal >> i & 1]
        if any(self.tokens[i] == _MAX_TOKENS for i in signals):
            raise EngineFault(Fault.TOKEN_OVERFLOW, 1)
        self._take_effect(packet)
        for i in signals:
            self.tokens[i] += 1
        self.counters.retire(packet, self.terms[packet.index])
        self.times[packet.index] = (self.begins[packet.index], self.now)

    def _take_effect(self, packet: HeldPacket) -> None:
        spm = self.memories.content[Region.SPM]
        match packet.opcode:
            case Opcode.CONV | Opcode.DEPTHWISE | Opcode.SEPARABLE:
                run_convolution(packet, self.machine, self.memories, spm)
            case Opcode.POOL:
                run_pool(packet, self.memories, spm)
            case Opcode.ELEMENTWISE:
                run_elementwise(packet, self.memories, spm)
            case Opcode.TABLE:
                run_table(packet, self.memories, spm)
            case Opcode.MATMUL:
                run_matmul(packet, self.memories, spm)
            case Opcode.DMA:
                run_dma(packet, self.memories)
            case Opcode.TRACE:
                self._trace(packet)
            case Opcode.IRQ:
                self.interrupts |= Interrupt.USER
                self.interrupt_tag = packet.integer("tag")
            case Opcode.END:
                self.interrupts |= Interrupt.DONE
            case _:
                pass

    def _trace(self, packet: HeldPacket) -> None:
        ring = self.memories.content[Region.TRACE]
        places = ring.size // TRACE_BYTES
        place = self.traced % places
        words = [packet.layer << 16 | packet.sequence, packet.integer("tag")]
        record = np.array([*words, self.now & 0xFFFFFFFF, self.now >> 32], "<u4")
        ring[place * TRACE_BYTES : (place + 1) * TRACE_BYTES] = record.view(np.uint8)
        self.traced += 1
        if place == places - 1:
            self.interrupts |= Interrupt.TRACE_FULL
