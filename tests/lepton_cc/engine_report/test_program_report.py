"""The engine report: its figures add up, agree with the counters, and survive JSON and payload."""

import dataclasses
import json
from collections.abc import Mapping

import pytest

from lepton_cc.codegen.npu.machine import native
from lepton_cc.engine_report.document import BufferKind, EngineReport, SegmentReport
from lepton_cc.engine_report.payload_report import disassembly, payload_report
from lepton_cc.engine_report.program_report import program_report
from tests.lepton_cc.engine_report.compiled import compiled, report_of

MODELS = ("digits_cnn", "digits_dscnn", "digits_gru")


def sums(segment: SegmentReport) -> Mapping[str, int]:
    layers = segment.layers
    return {
        "CYCLES": sum(layer.cycles for layer in layers) + segment.tail_cycles,
        "MACS": sum(layer.num_macs for layer in layers),
        "SETUP_CYCLES": sum(layer.stalls.setup for layer in layers),
        "ARRAY_CYCLES": sum(layer.stalls.array for layer in layers),
        "EPILOGUE_STALLS": sum(layer.stalls.epilogue for layer in layers),
        "SPM_STALLS": sum(layer.stalls.scratchpad for layer in layers),
        "WEIGHT_STALLS": sum(layer.stalls.weights for layer in layers),
        "TOKEN_STALLS": sum(layer.stalls.waiting for layer in layers) + segment.tail_cycles,
        "DMA_CYCLES": sum(layer.dma_cycles for layer in layers),
        "SPM_BYTES": sum(layer.traffic.spm for layer in layers),
        "CONSTANT_BYTES": sum(layer.traffic.constants for layer in layers),
        "SYSTEM_READ_BYTES": sum(layer.traffic.system_read for layer in layers),
        "SYSTEM_WRITE_BYTES": sum(layer.traffic.system_write for layer in layers),
    }


@pytest.mark.parametrize("name", MODELS)
def test_layers_add_up_to_the_counters(name: str) -> None:
    report = report_of(name)
    assert report.segments
    for segment in report.segments:
        found = sums(segment)
        assert found == {counter: segment.counters[counter] for counter in found}
        assert segment.cycles == segment.counters["CYCLES"]
    assert report.cycles == sum(segment.cycles for segment in report.segments)
    assert 0 < report.utilization <= 1


@pytest.mark.parametrize("name", MODELS)
def test_json_keeps_everything(name: str) -> None:
    report = report_of(name)
    assert EngineReport.from_json(report.to_json()) == report
    assert report.to_json().endswith("}\n")


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"format": "x"}, {"segments": 3}, {"machine": {}}, {"name": 5}, {"more": 1}],
)
def test_other_json_is_refused(change: dict[str, object]) -> None:
    document = {**json.loads(report_of("digits_cnn").to_json()), **change}
    with pytest.raises(ValueError, match=r".+"):
        EngineReport.from_json(json.dumps(document))


@pytest.mark.parametrize("name", MODELS)
def test_a_payload_tells_the_same(name: str) -> None:
    engine = compiled(name).program.engine
    assert engine is not None
    known, read = report_of(name), payload_report(name, engine.payload, engine.machine)
    assert not read.core_is_known
    assert (read.payload_bytes, read.constants_bytes) == (
        len(engine.payload),
        known.constants_bytes,
    )
    for one, other in zip(known.segments, read.segments, strict=True):
        assert one.packets == other.packets
        assert one.counters == other.counters
        for layer, from_payload in zip(one.layers, other.layers, strict=True):
            assert layer.stalls == from_payload.stalls
            assert layer.weights == from_payload.weights
            assert "+".join(layer.nodes) == "".join(from_payload.nodes)


def test_weights_are_those_of_the_model() -> None:
    """A 3x3 convolution of 16 channels to 32, as a byte each, and 8 bytes a channel."""
    layers = [layer for segment in report_of("digits_cnn").segments for layer in segment.layers]
    convolutions = [layer for layer in layers if layer.operation.startswith("conv")]
    assert convolutions
    constants = sum(layer.weights.encoded_bytes for layer in layers)
    assert constants <= report_of("digits_cnn").constants_bytes
    for layer in convolutions:
        assert layer.weights.encoded_bytes <= layer.weights.raw_bytes + 4 * layer.weights.num_slices
        assert layer.weights.encodings


@pytest.mark.parametrize("name", MODELS)
def test_pieces_of_the_scratchpad_lie_inside_and_hold_each_result(name: str) -> None:
    for segment in report_of(name).segments:
        results = {b.layer for b in segment.buffers if b.kind is BufferKind.RESULT}
        computing = {layer.number for layer in segment.layers if layer.stalls.array}
        assert computing <= results
        for buffer in segment.buffers:
            assert buffer.offset >= 0
            assert buffer.offset + buffer.size_bytes <= segment.spm_bytes
            assert 0 <= buffer.begin < buffer.end <= segment.cycles
            assert buffer.name


def test_results_that_live_at_the_same_time_lie_apart() -> None:
    """digits_cnn fits many times over, so that nothing overwrites its own input."""
    (segment,) = report_of("digits_cnn").segments
    buffers = segment.buffers
    for i, one in enumerate(buffers):
        for other in buffers[i + 1 :]:
            together = one.begin < other.end and other.begin < one.end
            same = (
                one.offset < other.offset + other.size_bytes
                and other.offset < one.offset + one.size_bytes
            )
            if together and same:
                # A diagonal overlap: the later result follows its reader up.
                assert other.kind is BufferKind.RESULT
                assert other.offset <= one.offset + one.size_bytes


def test_every_transfer_serves_a_layer() -> None:
    for segment in report_of("digits_dscnn").segments:
        transfers = [packet for packet in segment.packets if packet.opcode == "dma"]
        assert transfers
        assert all(packet.layer for packet in transfers)


def test_what_stays_on_the_core_has_reasons() -> None:
    core = report_of("digits_dscnn").core
    by_operation = {op.operation: op.code for op in core}
    assert by_operation["quantized_softmax"] == "no-instruction"
    assert by_operation["quantize"] == "float"
    assert all(op.reason for op in core)


def test_a_program_without_segments_has_a_report() -> None:
    compilation = compiled("digits_cnn")
    program = dataclasses.replace(compilation.program, engine=None)
    report = program_report(program, compilation.fallbacks)
    assert (report.cycles, report.utilization, report.segments) == (0, 0.0, ())
    assert report.machine.macs == 256
    assert EngineReport.from_json(report.to_json()) == report


def test_disassembly_names_nodes_and_whom_transfers_serve() -> None:
    engine = compiled("digits_cnn").program.engine
    assert engine is not None
    lines = list(disassembly(engine.payload))
    assert lines[0] == "segment 0:"
    assert lines[1].startswith("0000 check")
    assert any("conv " in line and "conv_1" in line for line in lines)
    assert any(" dma " in line and "; for layer 1 " in line for line in lines)
    assert lines[-1].split()[1] == "end"


def test_another_system_gives_other_times() -> None:
    engine = compiled("digits_cnn").program.engine
    assert engine is not None
    machine = engine.machine
    slow = dataclasses.replace(
        machine.system, constants=dataclasses.replace(machine.system.constants, rate=4)
    )
    slower = payload_report("digits", engine.payload, native(256, slow))
    assert slower.cycles > report_of("digits_cnn").cycles
