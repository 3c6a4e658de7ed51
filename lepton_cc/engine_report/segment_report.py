"""The report of one stream: packets and their times to figures by layer, buffers, counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.timeline import Timeline
from lepton_cc.engine_report.attribution import served_layers
from lepton_cc.engine_report.document import (
    BufferFigures,
    BufferKind,
    LayerFigures,
    PacketFigures,
    QueueName,
    SegmentReport,
    WeightFigures,
)
from lepton_cc.engine_report.layer_figures import Stream, Tally, tally_layers, weights_of_layers
from lepton_cc.engine_report.scratchpad_map import scratchpad_map

_NO_WEIGHTS = WeightFigures(0, 0, 0, ())


@dataclass(frozen=True, slots=True)
class LayerDescription:
    """What a stream does not say of a layer; `number` is that of its packets."""

    number: int
    operation: str
    nodes: tuple[str, ...]
    result: str = ""
    shape: tuple[int, ...] = ()


def timed_stream(packets: Sequence[Packet], timeline: Timeline) -> Stream:
    """A stream with its estimated times; CHECK, which takes none, is left out."""
    kept = tuple(packet for packet in packets if packet.opcode is not Opcode.CHECK)
    given = len(timeline.begins) - len(kept)
    return Stream(
        kept,
        served_layers(kept),
        timeline.begins[given:],
        timeline.completions[given:],
        timeline.terms[given:],
    )


def segment_report(
    number: int,
    packets: Sequence[Packet],
    timeline: Timeline,
    layers: Sequence[LayerDescription],
    stream_bytes: int,
) -> SegmentReport:
    """All figures of a segment; `packets` begin with CHECK."""
    stream = timed_stream(packets, timeline)
    tallies = tally_layers(stream)
    weights = weights_of_layers(stream.packets)
    names = {layer.number: layer for layer in layers}
    check = packets[0]
    spm_bytes = check.integer("spm_bytes")
    return SegmentReport(
        number,
        timeline.cycles,
        tallies.get(0, Tally()).stalls.cycles,
        stream_bytes,
        spm_bytes,
        check.integer("wbuf_bytes"),
        {counter.name: value for counter, value in timeline.counters.items()},
        tuple(
            _layer(layer, tallies.get(layer.number, Tally()), weights) for layer in names.values()
        ),
        tuple(_packet(stream, i) for i in range(len(stream.packets))),
        tuple(_named(buffer, names) for buffer in scratchpad_map(stream, spm_bytes)),
    )


def _layer(
    layer: LayerDescription, tally: Tally, weights: Mapping[int, WeightFigures]
) -> LayerFigures:
    return LayerFigures(
        layer.number,
        layer.operation,
        layer.nodes,
        layer.result,
        layer.shape,
        tally.num_packets,
        tally.num_macs,
        tally.stalls,
        tally.dma_cycles,
        tally.traffic,
        weights.get(layer.number, _NO_WEIGHTS),
    )


def _packet(stream: Stream, index: int) -> PacketFigures:
    packet = stream.packets[index]
    return PacketFigures(
        index + 1,
        packet.opcode.name.lower(),
        QueueName(packet.format.queue.value),
        stream.served[index],
        stream.begins[index],
        stream.completions[index],
    )


def _named(buffer: BufferFigures, layers: Mapping[int, LayerDescription]) -> BufferFigures:
    layer = layers.get(buffer.layer)
    if layer is None:
        return buffer
    name = layer.result if buffer.kind is BufferKind.RESULT else ""
    return replace(buffer, name=name or " ".join(layer.nodes) or layer.operation)
