"""Figures of each layer from packets and their times: cycles, stalls, traffic, weights.

The times may be the compiler's estimate or what the emulated engine recorded; both go through here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lepton_cc.codegen.npu.cycles import PacketCycles
from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Encoding, Opcode, Queue
from lepton_cc.codegen.npu.isa.regions import INTERNAL, Address, Region
from lepton_cc.codegen.npu.timeline import TRACE_BYTES
from lepton_cc.codegen.npu.weights.slices import CHANNEL_BYTES
from lepton_cc.engine_report.document import Stalls, Traffic, WeightFigures

_CONSTANTS = frozenset({Region.STREAM, Region.CONSTANTS})
_WINDOWED = frozenset({Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE})


@dataclass(frozen=True, slots=True)
class Stream:
    """Packets in order, the layer that each serves, and when each ran; CHECK may be left out."""

    packets: tuple[Packet, ...]
    served: tuple[int, ...]
    begins: tuple[int, ...]
    completions: tuple[int, ...]
    terms: tuple[PacketCycles, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """What the packets of one layer add up to."""

    num_packets: int = 0
    num_macs: int = 0
    stalls: Stalls = field(default_factory=Stalls)
    dma_cycles: int = 0
    traffic: Traffic = field(default_factory=Traffic)


def tally_layers(stream: Stream) -> dict[int, Tally]:
    """Layer number -> what it takes; the cycles of all layers add up to those of the run.

    Layer 0 has what is left: waits for the end, and packets that serve no layer.
    """
    tallies: dict[int, Tally] = {}
    free = 0  # when the compute queue ended its last packet
    for packet, layer, begin, completion, term in zip(
        stream.packets,
        stream.served,
        stream.begins,
        stream.completions,
        stream.terms,
        strict=True,
    ):
        known = tallies.get(layer, Tally())
        stalls, dma_cycles = known.stalls, known.dma_cycles
        if packet.format.queue is Queue.DMA:
            dma_cycles += term.total
        else:
            stalls = stalls.plus(_stalls(term, begin - free))
            free = completion
        tallies[layer] = Tally(
            known.num_packets + 1,
            known.num_macs + term.macs,
            stalls,
            dma_cycles,
            known.traffic.plus(_traffic(packet, term)),
        )
    return tallies


def _stalls(term: PacketCycles, waiting: int) -> Stalls:
    """A compute packet's cycles; what exceeds the array's counts for the slowest unit."""
    slowest = max(term.epilogue, term.scratchpad, term.weights)
    excess = max(slowest - term.array, 0)
    epilogue = scratchpad = weights = 0
    if slowest == term.epilogue:
        epilogue = excess
    elif slowest == term.scratchpad:
        scratchpad = excess
    else:
        weights = excess
    return Stalls(term.setup, term.array, epilogue, scratchpad, weights, waiting)


def _traffic(packet: Packet, term: PacketCycles) -> Traffic:
    if packet.opcode is Opcode.TRACE:
        return Traffic(system_write=TRACE_BYTES)
    if packet.opcode is not Opcode.DMA:
        return Traffic(spm=term.scratchpad_bytes)
    get = packet.integer
    moved = get("run_bytes") * get("count1") * get("count2") * get("count3")
    target = packet.address("target").region
    constants = system_read = 0
    if not get("fill"):
        source = packet.address("source").region
        constants = moved if source in _CONSTANTS else 0
        system_read = moved if source not in _CONSTANTS | INTERNAL else 0
    return Traffic(
        wbuf=moved if target is Region.WBUF else 0,
        constants=constants,
        system_read=system_read,
        system_write=moved if target not in INTERNAL else 0,
    )


def weights_of_layers(packets: Sequence[Packet]) -> dict[int, WeightFigures]:
    """Layer number -> its weight slices, each counted once however often packets read it."""
    origin: dict[Address, Address] = {}  # what was last loaded to an address
    seen: dict[int, set[Address]] = {}
    figures: dict[int, WeightFigures] = {}
    for packet in packets:
        if _loads_constants(packet):
            origin[packet.address("target")] = packet.address("source")
        for read in _slices(packet):
            of_layer = seen.setdefault(packet.layer, set())
            source = origin.get(read.address, read.address)
            if source not in of_layer:
                of_layer.add(source)
                known = figures.get(packet.layer, WeightFigures(0, 0, 0, ()))
                figures[packet.layer] = _with_slice(known, read)
    return figures


def _loads_constants(packet: Packet) -> bool:
    if packet.opcode is not Opcode.DMA or packet.integer("fill"):
        return False
    return packet.address("source").region in _CONSTANTS


@dataclass(frozen=True, slots=True)
class _Slice:
    """A slice that a packet reads."""

    address: Address
    size_bytes: int
    encoding: Encoding
    num_weights: int
    num_channels: int


def _slices(packet: Packet) -> Iterator[_Slice]:
    if packet.opcode not in _WINDOWED:
        return
    get = packet.integer
    inputs, outputs = get("ifm_channels"), get("ofm_channels")
    taps = get("kernel_height") * get("kernel_width")
    own = {
        Opcode.CONV: taps * (inputs // (get("groups") or 1)) * outputs,
        Opcode.DEPTHWISE: taps * outputs,
        Opcode.SEPARABLE: inputs * outputs,
    }
    sizes = [("", own[packet.opcode], outputs)]
    if packet.opcode is Opcode.SEPARABLE:
        sizes.append(("stage_", taps * inputs, inputs))
    for prefix, num_weights, channels in sizes:
        yield _Slice(
            packet.address(f"{prefix}weights_address"),
            get(f"{prefix}weights_bytes"),
            Encoding(get(f"{prefix}encoding")),
            num_weights,
            channels,
        )


def _with_slice(known: WeightFigures, read: _Slice) -> WeightFigures:
    names = {*known.encodings, read.encoding.name.lower()}
    raw_bytes = read.num_weights + CHANNEL_BYTES * read.num_channels
    return WeightFigures(
        known.num_slices + 1,
        known.raw_bytes + raw_bytes,
        known.encoded_bytes + read.size_bytes,
        tuple(sorted(names)),
    )
