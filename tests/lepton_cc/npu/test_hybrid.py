"""Models on the emulated engine and the interpreted core: bytes, cycles, refusals."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.ir.diagnostics import InternalError, Refused
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.hybrid import HybridModel

MODELS = Path(__file__).resolve().parents[3] / "models"
NUM_SAMPLES = 10


@pytest.fixture(scope="module")
def samples() -> Array:
    with np.load(MODELS / "digits_samples.npz") as arrays:
        x: Array = arrays["x"].astype(np.float32)
    return x


@pytest.fixture(scope="module", params=["digits_cnn", "digits_dscnn"])
def chip(request: pytest.FixtureRequest, samples: Array) -> CompiledModel:
    return compiled(request.param, "lepton-npu-64", samples)


def compiled(name: str, target: str, samples: Array) -> CompiledModel:
    return lepton_cc.compile(
        MODELS / f"{name}.onnx", target=target, name=name, quantize="w8a8", calibrate={"x": samples}
    )


def hybrid_of(chip: CompiledModel) -> HybridModel:
    engine = chip.compilation.options.target.engine
    assert engine is not None
    return HybridModel(chip.compilation.graph, machine_of(engine))


def test_bytes_are_those_of_every_other_way(chip: CompiledModel, samples: Array) -> None:
    hybrid = hybrid_of(chip)
    core = compiled(chip.compilation.program.name, "x86-64", samples)
    for x in samples[:NUM_SAMPLES]:
        feed = {chip.inputs[0].name: x.reshape(chip.inputs[0].type.dims)}
        (found,) = hybrid.run(feed).values()
        (expected,) = interpret(chip.compilation.graph, feed).values()
        (native,) = core.run(feed).values()
        assert found.tobytes() == expected.tobytes() == native.tobytes()


def test_cycles_are_those_of_the_report(chip: CompiledModel) -> None:
    assert chip.engine is not None
    assert hybrid_of(chip).cycles == chip.engine.cycles


def test_a_model_that_does_not_fit_is_refused(chip: CompiledModel) -> None:
    engine = chip.compilation.options.target.engine
    assert engine is not None
    small = dataclasses.replace(engine, spm_bytes=64)
    with pytest.raises(Refused, match="bytes of scratchpad"):
        HybridModel(chip.compilation.graph, machine_of(small))


def test_wrong_inputs_are_refused(chip: CompiledModel) -> None:
    with pytest.raises(Refused, match="is missing"):
        hybrid_of(chip).run({})


def test_another_count_than_the_estimate_is_an_error(chip: CompiledModel) -> None:
    hybrid = hybrid_of(chip)
    (segment,) = hybrid.segments
    timeline = segment.segment.timeline
    late = {counter: count + 1 for counter, count in timeline.counters.items()}
    segment.segment = dataclasses.replace(
        segment.segment, timeline=dataclasses.replace(timeline, counters=late)
    )
    body = next(
        op.kind.body for op in chip.compilation.graph.ops if isinstance(op.kind, EngineSegment)
    )
    zeros = [np.zeros(value.type.dims, value.type.dtype.numpy) for value in body.inputs]
    with pytest.raises(InternalError, match="CYCLES is"):
        segment.run(zeros)
