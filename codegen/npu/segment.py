"""Segments: from a part of the graph that the engine executes to its stream of packets.

select -> fuse -> layouts -> schedule -> place -> emit -> synchronize -> stream
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lepton_cc.codegen.npu.choose_cascades import Shape, choose_shapes
from lepton_cc.codegen.npu.coding import Coding, SliceStore
from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.emit import Emitter
from lepton_cc.codegen.npu.footprint import region_sizes
from lepton_cc.codegen.npu.fuse import fuse_layers
from lepton_cc.codegen.npu.hazards import HazardError, check_hazards
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet, encode_stream
from lepton_cc.codegen.npu.isa.packets import Encoding, Opcode
from lepton_cc.codegen.npu.isa.regions import INTERNAL, Address, Region
from lepton_cc.codegen.npu.isa.registers import ABI_MAJOR, ABI_MINOR, Capability, Counter
from lepton_cc.codegen.npu.layers import ConvLayer, Layer
from lepton_cc.codegen.npu.layout import assign_layouts
from lepton_cc.codegen.npu.least_cycles import least_cycles
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.packet_terms import PacketTerms
from lepton_cc.codegen.npu.place import Places, place
from lepton_cc.codegen.npu.ports import port_address
from lepton_cc.codegen.npu.schedule import Border, Schedule, Scheduler, TileMaker
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.synchronize import synchronize
from lepton_cc.codegen.npu.tasks import Rows
from lepton_cc.codegen.npu.tile import Staging
from lepton_cc.codegen.npu.tilings import Tilings
from lepton_cc.codegen.npu.timeline import Timeline, estimate
from lepton_cc.ir.diagnostics import Code, InternalError, refuse
from lepton_cc.ir.graph import Graph, Value

_PLACEMENT_ATTEMPTS = 3
_MANY_PACKETS = 4500  # of a segment whose variants take long to make: few are tried
# Where slices lie for the time being: behind all maps, whose addresses are final.
_ELSEWHERE = 1 << 27
_NO_TIMELINE = Timeline((), (), (), {Counter.CYCLES: 1 << 62, Counter.TOKEN_STALLS: 0})
_STALLS = 50  # loading ahead is worth a try where more than a fiftieth of the time is waiting


@dataclass(frozen=True, slots=True)
class _Tools:
    """The machine, and what is remembered of it for all variants of a segment."""

    machine: Machine
    store: SliceStore
    terms: PacketTerms


@dataclass(frozen=True, slots=True)
class Segment:
    """A compiled segment: packets with CHECK and END, and how they came to be.

    While variants are compared, CHECK is not yet there, and constants lie in a pool of their own;
    of a large one that does not fit there are no packets.

    Inputs and outputs are the ports INPUT0.. and OUTPUT0.. in the order of the body's.
    `layers[i]` is layer i + 1 of the packets; layer 0 is none.
    """

    packets: tuple[Packet, ...]
    shape: Shape
    schedule: Schedule
    places: Places
    timeline: Timeline

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The fused layers, in order."""
        return self.shape.layers

    @property
    def spm_bytes(self) -> int:
        """Scratchpad that the segment uses."""
        return self.places.spm_bytes

    @property
    def spilled_bytes(self) -> int:
        """Memory of the system that spilled values take."""
        return self.shape.spilled_bytes

    @property
    def waits(self) -> bool:
        """Whether so much of the time is waiting that loading ahead is worth a try."""
        return self.timeline.counters[Counter.TOKEN_STALLS] * _STALLS > self.timeline.cycles

    def rank(self, machine: Machine) -> tuple[int, int, int]:
        """What makes a segment better: it fits; fewer cycles; fewer bytes of constants."""
        excess = max(self.spm_bytes - machine.member.spm_bytes, 0)
        blobs = {load.blob.content for load in self.places.loads}
        return excess, self.timeline.cycles, sum(len(blob) for blob in blobs)

    def stream(self) -> bytes:
        """The packets as bytes, proved to be free of races and deadlock.

        Raises:
            InternalError: they are not.
        """
        try:
            check_hazards(self.packets)
        except HazardError as error:
            raise InternalError(f"the stream of a segment is wrong: {error}") from error
        check, *rest = self.packets
        return encode_stream(check, rest)


def compile_segment(
    body: Graph,
    machine: Machine,
    constants: ConstantPool,
    stored: Mapping[Value, Address] | None = None,
) -> Segment:
    """Compiles a graph that `select` takes whole; constants are added to the pool.

    `stored`: where the outputs go; by default to ports that `bind_segment` replaces.

    If the maps do not fit the machine's scratchpad, layers run in cascades; the segment may still
    be larger than the scratchpad if nothing helps: see `Segment.spm_bytes` and `check_fit`.

    Raises:
        InternalError: an op of the body is none that the engine executes.
    """
    selection = select(body)
    if selection.reasons:
        op, reason = selection.reasons[0]
        raise InternalError(f"{op.kind.mnemonic} at {op.location} in a segment: {reason.value}")
    store = SliceStore(machine)
    tools = _Tools(machine, store, PacketTerms(machine))
    maker = TileMaker(machine, store)
    layers = fuse_layers(
        selection.layers,
        body.outputs,
        lambda *stages: machine.separable and _separable_pays(store.tilings, *stages),
    )
    border = Border(
        {
            **{value: port_address(Region.INPUT0, i) for i, value in enumerate(body.inputs)},
            **{
                value: constants.add(array.tobytes())
                for value, array in selection.constants.items()
            },
        },
        {value: port_address(Region.OUTPUT0, i) for i, value in enumerate(body.outputs)}
        if stored is None
        else stored,
    )
    best: Segment | None = None
    budget = machine.member.spm_bytes
    for _ in range(_PLACEMENT_ATTEMPTS):
        shape, *others = choose_shapes(machine, layers, border, maker, budget)
        found = _fastest(tools, shape)
        if others and max(len(found.packets), len(found.schedule.tasks)) <= _MANY_PACKETS:
            rivals = [_fastest(tools, other) for other in others]
            found = min([found, *rivals], key=lambda segment: segment.rank(machine))
        if best is None or found.rank(machine) < best.rank(machine):
            best = found
        excess = found.spm_bytes - machine.member.spm_bytes
        if excess <= 0:
            break
        # Placement and staged weights take more than the live bytes of maps.
        budget = min(budget - excess, found.shape.peak_bytes - 1)
        if budget <= 0:
            break
    assert best is not None
    if not best.packets:
        best = _assembled(tools, best.shape, best.schedule, best.places)
    return _finished(machine, best, constants)


def check_fit(segment: Segment, machine: Machine) -> None:
    """Refuses a segment that is larger than the scratchpad.

    Raises:
        Refused: with what is needed, what there is, the peak and its biggest maps.
    """
    there_is = machine.member.spm_bytes
    if segment.spm_bytes <= there_is:
        return
    plan = segment.places.plan
    biggest = ", ".join(f"{b.name} {b.size_bytes}" for b in plan.peak_buffers[:3])
    raise refuse(
        Code.DOES_NOT_FIT,
        f"the engine needs {segment.spm_bytes} bytes of scratchpad, {machine.member.name} has "
        f"{there_is}, after striping and spilling; the biggest maps at the peak are: {biggest}",
        hint="give a larger scratchpad (--sram-budget), a larger member, or a smaller model",
    )


def _fastest(tools: _Tools, shape: Shape) -> Segment:
    """The fastest of all stagings and codings, with constants loaded in turn and ahead."""
    found = [
        segment
        for staging in _stagings(shape, tools.store.tilings)
        for segment in _variants(tools, shape, staging)
    ]
    return min(found, key=lambda segment: segment.rank(tools.machine))


def _stagings(shape: Shape, tilings: Tilings) -> tuple[Staging, ...]:
    """Those that make a difference for the layers outside of cascades."""
    inside = {i for cascade in shape.cascades for i in range(cascade.first, cascade.last + 1)}
    for number, layer in enumerate(shape.layers):
        if number not in inside and isinstance(layer, ConvLayer):
            rows = Rows(0, layer.shape.height)
            if len({tilings.choose(layer, rows, staging=one) for one in Staging}) > 1:
                return tuple(Staging)
    return (Staging.WHEN_NEEDED,)


def _variants(tools: _Tools, shape: Shape, staging: Staging) -> Iterator[Segment]:
    """All codings, and loading ahead where there is much waiting for constants."""
    machine = tools.machine
    layouts = assign_layouts(shape.layers, tuple(shape.border.inputs))
    schedules = [
        Scheduler(
            machine,
            shape.layers,
            layouts,
            shape.border,
            TileMaker(machine, tools.store, coding, staging),
        ).schedule(shape.cascades)
        for coding in Coding
    ]
    if len(schedules[0].tasks) > _MANY_PACKETS:
        tilings = tools.store.tilings
        schedule = min(schedules, key=lambda one: least_cycles(machine, tilings, one))
        yield from _large_variants(tools, shape, schedule)
        return
    plain = [_assembled(tools, shape, one, place(machine, one)) for one in schedules]
    yield from plain
    best = min(plain, key=lambda segment: segment.rank(machine))
    if best.waits:
        tried = schedules if len(best.packets) <= _MANY_PACKETS else [best.schedule]
        for one in tried:
            yield _assembled(tools, shape, one, place(machine, one, prefetch=True))


def _large_variants(tools: _Tools, shape: Shape, schedule: Schedule) -> Iterator[Segment]:
    """Constants loaded in turn and ahead, but no packets if neither fits the scratchpad."""
    machine = tools.machine
    in_turn = place(machine, schedule)
    if in_turn.spm_bytes <= machine.member.spm_bytes:
        segment = _assembled(tools, shape, schedule, in_turn)
        yield segment
        if not segment.waits:
            return
    ahead = place(machine, schedule, prefetch=True)
    if ahead.spm_bytes <= machine.member.spm_bytes:
        yield _assembled(tools, shape, schedule, ahead)
    elif in_turn.spm_bytes > machine.member.spm_bytes:
        smaller = min(in_turn, ahead, key=lambda places: places.spm_bytes)
        yield Segment((), shape, schedule, smaller, _NO_TIMELINE)


def _assembled(tools: _Tools, shape: Shape, schedule: Schedule, places: Places) -> Segment:
    """The packets of a schedule without CHECK; constants get addresses for the time being."""
    machine = tools.machine
    pool = ConstantPool(_ELSEWHERE)
    addresses = {load.blob.content: pool.add(load.blob.content) for load in places.loads}
    numbers = {id(layer): number for number, layer in enumerate(shape.layers, 1)}
    emitter = Emitter(machine, schedule.layouts, places, addresses)
    packets = synchronize(emitter.packets(schedule.tasks, numbers))
    packets.append(Packet(Opcode.END, {}))
    timeline = estimate(machine, packets, tools.terms)
    return Segment(tuple(packets), shape, schedule, places, timeline)


def _finished(machine: Machine, segment: Segment, constants: ConstantPool) -> Segment:
    """The segment with CHECK, and with its constants in the program's pool."""
    mine = ConstantPool(_ELSEWHERE)
    moved: dict[FieldValue, Address] = {}
    for load in segment.places.loads:
        moved[mine.add(load.blob.content)] = constants.add(load.blob.content)
    packets = [
        dataclasses.replace(packet, fields={**packet.fields, "source": moved[source]})
        if packet.opcode is Opcode.DMA and (source := packet.fields["source"]) in moved
        else packet
        for packet in segment.packets
    ]
    check = _check_packet(machine, packets)
    return dataclasses.replace(segment, packets=(check, *packets))


def _separable_pays(
    tilings: Tilings, first: ConvLayer, second: ConvLayer, merged: ConvLayer
) -> bool:
    chosen = [
        tilings.choose(layer, Rows(0, layer.shape.height)) for layer in (first, second, merged)
    ]
    apart, whole = chosen[:2], chosen[2]
    if whole is None or any(tiling is None for tiling in apart):
        return False
    return whole.cycles <= sum(tiling.cycles for tiling in apart if tiling is not None)


def _check_packet(machine: Machine, packets: list[Packet]) -> Packet:
    """What the stream needs: sizes of regions from what its packets touch."""
    sizes, written = region_sizes(packets)
    fields: dict[str, FieldValue] = {
        "abi_major": ABI_MAJOR,
        "abi_minor": ABI_MINOR,
        "macs": machine.member.macs,
        "capabilities": int(_capabilities(packets)),
        "spm_bytes": sizes[Region.SPM],
        "wbuf_bytes": sizes[Region.WBUF],
        "write_mask": written,
        **{f"region{i}_bytes": size for i, size in enumerate(sizes) if i not in INTERNAL},
    }
    return Packet(Opcode.CHECK, fields)


def _capabilities(packets: list[Packet]) -> Capability:
    needed = Capability(0)
    opcodes: Mapping[Opcode, Capability] = {
        Opcode.SEPARABLE: Capability.SEPARABLE,
        Opcode.MATMUL: Capability.MATMUL,
        Opcode.TRACE: Capability.TRACE,
    }
    encodings: Mapping[int, Capability] = {
        Encoding.RAW4: Capability.INT4_WEIGHTS,
        Encoding.PREFIX: Capability.CODED_WEIGHTS,
    }
    for packet in packets:
        needed |= opcodes.get(packet.opcode, Capability(0))
        for name in ("encoding", "stage_encoding"):
            needed |= encodings.get(packet.integer(name), Capability(0))
        if any(name.endswith("ring_rows") for name in packet.fields):
            needed |= Capability.RINGS
    return needed
