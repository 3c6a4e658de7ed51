"""The engine's part of a program: segments bound to the model's memory, and the payload of all."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.footprint import region_sizes
from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.regions import (
    INTERNAL,
    MAX_PORTS,
    NUM_REGIONS,
    RESERVED_REGION,
    Address,
    Region,
)
from lepton_cc.codegen.npu.isa.registers import RegionAttribute
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.operation_names import operation_of
from lepton_cc.codegen.npu.payload import (
    Binding,
    LayerRecord,
    Payload,
    PortRecord,
    RegionBinding,
    SegmentRecord,
    encode_payload,
)
from lepton_cc.codegen.npu.ports import Port, port_of
from lepton_cc.codegen.npu.segment import Segment
from lepton_cc.codegen.npu.spill import SPILL_REGION
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.expose_integers import PortScale

_READ = RegionAttribute.READ
_READ_WRITE = RegionAttribute.READ | RegionAttribute.WRITE
_STREAM_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class OuterPlace:
    """Where a value on the border of a segment lies: in the arena, or in a port of the model."""

    binding: Binding
    position: int  # byte offset in the arena, or number of the port


BoundSegment = tuple[Segment, tuple[RegionBinding, ...]]
"""A segment with the addresses of its ports, and what its regions are bound to."""


@dataclass(frozen=True, slots=True)
class EngineProgram:
    """All segments of a program as they run, in order, and the payload that holds them."""

    machine: Machine
    segments: tuple[Segment, ...]
    payload: bytes

    @property
    def cycles(self) -> int:
        """Of all segments."""
        return sum(segment.timeline.cycles for segment in self.segments)


def bind_segment(
    segment: Segment,
    inputs: Sequence[OuterPlace],
    outputs: Sequence[OuterPlace],
    spilled: OuterPlace | None = None,
) -> BoundSegment:
    """The segment with the addresses of its ports, and the bindings of its regions.

    `spilled`: the part of the arena for values that do not stay in the scratchpad.

    Raises:
        Refused: it would need more regions for ports of the model than there are.
    """
    addresses: dict[Port, Address] = {}
    ports: dict[tuple[Binding, int], Region] = {}
    for base, places in ((Region.INPUT0, inputs), (Region.OUTPUT0, outputs)):
        for number, place in enumerate(places):
            addresses[Port(base, number)] = _outer_address(segment, place, ports)
    if spilled is not None:
        addresses[Port(SPILL_REGION, 0)] = Address(Region.ARENA, spilled.position)
    packets = tuple(_relocated(packet, addresses) for packet in segment.packets)
    check, *rest = packets
    sizes, written = region_sizes(rest)
    fields = {
        **check.fields,
        **{f"region{i}_bytes": 0 if i in INTERNAL else sizes[i] for i in range(NUM_REGIONS)},
        "write_mask": written,
    }
    checked = dataclasses.replace(check, fields=fields)
    by_region = {region: key for key, region in ports.items()}
    bindings = tuple(_binding(i, by_region, sizes[i], written) for i in range(NUM_REGIONS))
    return dataclasses.replace(segment, packets=(checked, *rest)), bindings


def _outer_address(
    segment: Segment, place: OuterPlace, ports: dict[tuple[Binding, int], Region]
) -> Address:
    """Where a value on the border lies; a port of the model gets a region at its first use."""
    if place.binding is Binding.ARENA:
        return Address(Region.ARENA, place.position)
    key = (place.binding, place.position)
    if key not in ports:
        taken = sum(binding is place.binding for binding, _ in ports)
        if taken == MAX_PORTS:
            raise _too_many_ports(segment, place.binding)
        base = Region.INPUT0 if place.binding is Binding.INPUT else Region.OUTPUT0
        ports[key] = Region(base + taken)
    return Address(ports[key], 0)


def _too_many_ports(segment: Segment, binding: Binding) -> Exception:
    nodes = ", ".join(str(layer.location) for layer in segment.layers[-2:])
    return refuse(
        Code.TARGET_UNSUPPORTED,
        f"a segment of the engine touches more than {MAX_PORTS} {binding.name.lower()}s of the "
        f"model (near {nodes})",
        hint="keep float inputs and outputs, or split the model",
    )


def _relocated(packet: Packet, addresses: Mapping[Port, Address]) -> Packet:
    fields: dict[str, FieldValue] = {}
    for name, value in packet.fields.items():
        fields[name] = value
        if isinstance(value, Address):
            port, offset = port_of(value)
            if port in addresses:
                fields[name] = addresses[port].plus(offset)
    return dataclasses.replace(packet, fields=fields)


def _binding(
    number: int, ports: Mapping[Region, tuple[Binding, int]], size: int, written: int
) -> RegionBinding:
    if number == RESERVED_REGION or number in INTERNAL:
        return RegionBinding(Binding.NONE, 0, RegionAttribute(0), 0)
    region = Region(number)
    attributes = _READ_WRITE if written >> number & 1 else _READ
    if region is Region.STREAM:
        return RegionBinding(Binding.STREAM, 0, _READ, size)
    if region in ports:
        binding, index = ports[region]
        return RegionBinding(binding, index, attributes, size)
    fixed = {
        Region.CONSTANTS: Binding.CONSTANTS,
        Region.ARENA: Binding.ARENA,
        Region.STATE: Binding.STATE,
    }
    if region in fixed and size:
        return RegionBinding(fixed[region], 0, attributes, size)
    return RegionBinding(Binding.NONE, 0, RegionAttribute(0), 0)


def link_segments(
    machine: Machine,
    bound: Sequence[BoundSegment],
    constants: bytes,
    arena_bytes: int,
    ports: Sequence[PortRecord],
    model_hash: bytes = b"",
    test: bytes = b"",
    diagnosis: BoundSegment | None = None,
) -> EngineProgram:
    """The payload of bound segments, in the order in which they run, then the self-test's own."""
    stream = bytearray()
    records = []
    layers = []
    capabilities = spm_bytes = wbuf_bytes = 0
    for number, (segment, bindings) in enumerate((*bound, *([diagnosis] if diagnosis else []))):
        stream += bytes(-len(stream) % _STREAM_ALIGNMENT)
        content = segment.stream()
        check = segment.packets[0]
        records.append(SegmentRecord(len(stream), len(content), segment.timeline.cycles, bindings))
        stream += content
        capabilities |= check.integer("capabilities")
        spm_bytes = max(spm_bytes, check.integer("spm_bytes"))
        wbuf_bytes = max(wbuf_bytes, check.integer("wbuf_bytes"))
        layers += [
            LayerRecord(number, i, operation_of(layer), str(layer.location))
            for i, layer in enumerate(segment.layers, 1)
        ]
    payload = Payload(
        machine.member.macs,
        capabilities,
        spm_bytes,
        wbuf_bytes,
        arena_bytes,
        model_hash,
        tuple(records),
        bytes(stream),
        constants,
        tuple(ports),
        tuple(layers),
        test,
    )
    return EngineProgram(machine, tuple(segment for segment, _ in bound), encode_payload(payload))


def port_record(
    name: str, type_: TensorType, scale: PortScale | None, *, is_output: bool
) -> PortRecord:
    """The record of a model's port."""
    return PortRecord(
        name,
        is_output,
        type_.dtype.value,
        type_.dims,
        type_.size_bytes,
        0.0 if scale is None else scale.scale,
        0 if scale is None else scale.zero_point,
    )
