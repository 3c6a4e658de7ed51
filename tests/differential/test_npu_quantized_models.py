"""Float models that are quantized here: the chip gives the bytes of x86-64, in the cycles it said.

Convolutional ones run on the engine but for their ends; of the others the core has its part.
"""

import numpy as np
import pytest

import lepton_cc
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.npu.hybrid import HybridModel
from tests.differential.layers import assert_same_bytes
from tests.real_models import DIGITS, OTHER, RealModel

CONVOLUTIONAL = (
    "digits_cnn",
    "digits_dscnn",
    "mnist_cnn",
    "ppocr_cls",
    "ultraface_rfb320",
    "yunet_n_320",
)
_MOST_WORK = ("ppocr_cls", "ultraface_rfb320")
RECURRENT = ("digits_gru", "digits_lstm", "silero_vad_16k")


def named(names: tuple[str, ...]) -> list[object]:
    """The models; large ones take a minute to calibrate."""
    models = [model for model in (*DIGITS, *OTHER) if model.name in names]
    return [pytest.param(model, id=str(model), marks=_marks(model)) for model in models]


def _marks(model: RealModel) -> list[pytest.MarkDecorator]:
    if model.name in _MOST_WORK:
        return [pytest.mark.long]
    return [] if model in DIGITS else [pytest.mark.slow]


def compiled(model: RealModel, target: str) -> CompiledModel:
    samples = model.samples()
    arrays = {
        name: np.stack([sample.inputs[name] for sample in samples]) for name in samples[0].inputs
    }
    return lepton_cc.compile(model.require(), target=target, quantize="w8a8", calibrate=arrays)


def run_on_both(model: RealModel) -> tuple[CompiledModel, HybridModel]:
    """The model for chip and PC, after runs that gave the same bytes."""
    chip, core = compiled(model, "lepton-npu-256"), compiled(model, "x86-64")
    engine = chip.compilation.options.target.engine
    assert engine is not None
    hybrid = HybridModel(chip.compilation.graph, machine_of(engine))
    for sample in model.samples()[:2]:
        assert_same_bytes(hybrid.run(sample.inputs), core.run(sample.inputs))
    return chip, hybrid


@pytest.mark.parametrize("model", named(CONVOLUTIONAL))
def test_a_convolutional_network(model: RealModel) -> None:
    chip, hybrid = run_on_both(model)
    assert chip.engine is not None
    assert hybrid.cycles == chip.engine.cycles
    kinds = {fallback.op.kind.mnemonic for fallback in chip.compilation.fallbacks}
    assert not kinds & {"conv", "matmul", "max_pool", "gather"}


@pytest.mark.parametrize("model", named(RECURRENT))
def test_a_recurrent_network(model: RealModel) -> None:
    chip, _ = run_on_both(model)
    kinds = {fallback.op.kind.mnemonic for fallback in chip.compilation.fallbacks}
    assert any(kind.endswith("_scan") for kind in kinds)


@pytest.mark.long
@pytest.mark.parametrize("model", named(("stories260k_prefill64",)))
def test_a_transformer(model: RealModel) -> None:
    chip, hybrid = run_on_both(model)
    assert len(hybrid.segments) > 1
    kinds = {fallback.op.kind.mnemonic for fallback in chip.compilation.fallbacks}
    assert not kinds & {"matmul", "quantized_add", "quantized_mul", "slice"}
