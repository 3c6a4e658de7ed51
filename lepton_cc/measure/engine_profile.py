"""What the emulated engine took for each layer, beside the compiler's estimate: they are equal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.assemble import Packet, decode_stream
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.payload import Payload
from lepton_cc.codegen.npu.payload_reader import decode_payload
from lepton_cc.engine_report.attribution import served_layers
from lepton_cc.engine_report.document import (
    EngineReport,
    LayerFigures,
    SegmentReport,
    Stalls,
)
from lepton_cc.engine_report.layer_figures import Stream, Tally, tally_layers
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.npu.results import RetiredPacket


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """A layer with its estimate, and the cycles that were measured, by cause."""

    segment: int
    layer: LayerFigures
    measured: Stalls
    measured_dma_cycles: int

    @property
    def is_as_estimated(self) -> bool:
        """Whether every cause has as many cycles as the compiler said."""
        estimate = self.layer.stalls, self.layer.dma_cycles
        return estimate == (self.measured, self.measured_dma_cycles)


def engine_profile(
    report: EngineReport, payload: bytes, retired: Sequence[RetiredPacket]
) -> tuple[MeasuredLayer, ...]:
    """The layers of all segments, from the packets that retired in a run of the model.

    Raises:
        Refused: the engine did not run what the report describes, or took another time for it.
    """
    runs = list(_runs(retired))
    content = decode_payload(payload)
    streams = [_packets(content, segment.number) for segment in report.segments]
    counts = [len(run) for run in runs]
    if counts != [len(stream) for stream in streams]:
        raise Refused(
            [Diagnostic(Code.CHECK_FAILED, f"the engine retired {counts} packets, not its streams")]
        )
    layers: list[MeasuredLayer] = []
    complaints: list[Diagnostic] = []
    for segment, stream, run in zip(report.segments, streams, runs, strict=True):
        tallies = tally_layers(_measured(stream, run))
        found = [_layer(segment, layer, tallies.get(layer.number)) for layer in segment.layers]
        complaints += [_complaint(layer) for layer in found if not layer.is_as_estimated]
        if run[-1].begin != segment.cycles:
            text = f"segment {segment.number} took {run[-1].begin} cycles, not {segment.cycles}"
            complaints.append(Diagnostic(Code.CHECK_FAILED, text))
        layers += found
    if complaints:
        raise Refused(complaints)
    return tuple(layers)


def _runs(retired: Sequence[RetiredPacket]) -> Iterator[tuple[RetiredPacket, ...]]:
    """The packets of each stream in its order, without CHECK."""
    run: list[RetiredPacket] = []
    for packet in retired:
        if packet.opcode is Opcode.CHECK:
            continue
        run.append(packet)
        if packet.opcode is Opcode.END:
            yield tuple(sorted(run, key=lambda one: one.pc))
            run = []


def _packets(content: Payload, segment: int) -> tuple[Packet, ...]:
    record = content.segments[segment]
    stream = content.stream[record.stream_offset : record.stream_offset + record.stream_bytes]
    return tuple(p for _, p in decode_stream(stream) if p.opcode is not Opcode.CHECK)


def _measured(packets: tuple[Packet, ...], run: Sequence[RetiredPacket]) -> Stream:
    return Stream(
        packets,
        served_layers(packets),
        tuple(one.begin for one in run),
        tuple(one.completion for one in run),
        tuple(one.cycles for one in run),
    )


def _layer(segment: SegmentReport, layer: LayerFigures, tally: Tally | None) -> MeasuredLayer:
    tally = tally or Tally()
    return MeasuredLayer(segment.number, layer, tally.stalls, tally.dma_cycles)


def _complaint(measured: MeasuredLayer) -> Diagnostic:
    layer = measured.layer
    return Diagnostic(
        Code.CHECK_FAILED,
        f"layer {layer.number} of segment {measured.segment} ({layer.operation}) took "
        f"{measured.measured.cycles} cycles, estimated were {layer.cycles}",
        node=" ".join(layer.nodes),
        hint="report it with the model: the estimate and the engine are one equation",
    )
