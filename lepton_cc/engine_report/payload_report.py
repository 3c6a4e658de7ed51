"""From a payload alone to an engine report: what `lepton inspect FILE.lpt` shows.

A payload knows its member but not the system around it, which whoever asks must name.
"""

from collections.abc import Iterator

from lepton_cc.codegen.npu.isa.assemble import DecodeError, decode_stream
from lepton_cc.codegen.npu.isa.disassemble import disassemble
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.payload import Payload
from lepton_cc.codegen.npu.payload_reader import PayloadError, decode_payload
from lepton_cc.codegen.npu.timeline import estimate
from lepton_cc.engine_report.attribution import served_layers
from lepton_cc.engine_report.document import EngineReport, SegmentReport
from lepton_cc.engine_report.machine_figures import machine_figures
from lepton_cc.engine_report.segment_report import LayerDescription, segment_report

_MAX_SPM_BYTES = 1 << 26


def payload_report(name: str, content: bytes, machine: Machine) -> EngineReport:
    """The figures of a payload on a machine.

    Raises:
        PayloadError: it is none, or the machine cannot run its streams.
    """
    payload = decode_payload(content)
    segments = tuple(_segment(i, payload, machine) for i in range(payload.num_model_segments))
    return EngineReport(
        name,
        machine_figures(machine),
        len(content),
        len(payload.constants),
        payload.arena_bytes,
        segments,
        (),
        core_is_known=False,
    )


def _segment(number: int, payload: Payload, machine: Machine) -> SegmentReport:
    content = _stream(payload, number)
    layers = [
        LayerDescription(record.layer, record.operation, (record.nodes,) if record.nodes else ())
        for record in payload.layers
        if record.segment == number
    ]
    try:
        packets = [packet for _, packet in decode_stream(content)]
        if not packets or packets[0].integer("spm_bytes") > _MAX_SPM_BYTES:
            raise PayloadError("no packets, or no engine has so much scratchpad")
        timeline = estimate(machine, packets)
        return segment_report(number, packets, timeline, layers, len(content))
    except (ValueError, IndexError) as error:
        # A device checks every field and faults; here a wrong one is whatever it leads to.
        raise PayloadError(f"segment {number} is no stream for this machine: {error}") from error


def _stream(payload: Payload, number: int) -> bytes:
    record = payload.segments[number]
    return payload.stream[record.stream_offset : record.stream_offset + record.stream_bytes]


def disassembly(content: bytes) -> Iterator[str]:
    """The packets of all segments of a payload as text, with the ONNX nodes of their layers.

    Transfers, which name no layer, are followed by that which they serve.

    Raises:
        PayloadError: it is none, or its streams cannot be read.
    """
    payload = decode_payload(content)
    for number in range(len(payload.segments)):
        yield f"segment {number}:"
        names = {r.layer: r.nodes for r in payload.layers if r.segment == number}
        try:
            packets = [packet for _, packet in decode_stream(_stream(payload, number))]
        except DecodeError as error:
            raise PayloadError(f"segment {number}: {error}") from error
        served = served_layers(packets)
        for index, (packet, layer) in enumerate(zip(packets, served, strict=True)):
            first, *further = disassemble(packet, index, names)
            if layer != packet.layer:
                first += f"  ; for layer {layer} {names.get(layer, '')}".rstrip()
            yield from (first, *further)
