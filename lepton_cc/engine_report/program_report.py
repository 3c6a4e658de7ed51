"""From a compiled program to its engine report."""

from collections.abc import Sequence

from lepton_cc.codegen.npu.layers import Layer
from lepton_cc.codegen.npu.operation_names import operation_of
from lepton_cc.codegen.npu.payload_reader import decode_payload
from lepton_cc.codegen.npu.placement import Fallback
from lepton_cc.codegen.npu.segment import Segment
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.program import Program
from lepton_cc.engine_report.document import CoreOperation, EngineReport, SegmentReport
from lepton_cc.engine_report.machine_figures import machine_figures
from lepton_cc.engine_report.segment_report import LayerDescription, segment_report


def program_report(program: Program, fallbacks: Sequence[Fallback]) -> EngineReport:
    """The figures of a program for a target that has an engine, be it used or not."""
    assert program.target.engine is not None
    core = tuple(_core_operation(fallback) for fallback in fallbacks)
    engine = program.engine
    if engine is None:
        machine = machine_figures(machine_of(program.target.engine))
        return EngineReport(program.name, machine, 0, 0, program.arena_bytes, (), core)
    return EngineReport(
        program.name,
        machine_figures(engine.machine),
        len(engine.payload),
        len(decode_payload(engine.payload).constants),
        program.arena_bytes,
        tuple(_segment(number, segment) for number, segment in enumerate(engine.segments)),
        core,
    )


def _segment(number: int, segment: Segment) -> SegmentReport:
    layers = [_described(i, layer) for i, layer in enumerate(segment.layers, 1)]
    stream_bytes = 4 * sum(packet.format.words for packet in segment.packets)
    return segment_report(number, segment.packets, segment.timeline, layers, stream_bytes)


def _described(number: int, layer: Layer) -> LayerDescription:
    shape = layer.shape
    return LayerDescription(
        number,
        operation_of(layer),
        layer.location.nodes,
        layer.result.name,
        (shape.height, shape.width, shape.channels),
    )


def _core_operation(fallback: Fallback) -> CoreOperation:
    code = fallback.reason.name.lower().replace("_", "-")
    op = fallback.op
    return CoreOperation(op.kind.mnemonic, op.location.nodes, code, fallback.reason.value)
