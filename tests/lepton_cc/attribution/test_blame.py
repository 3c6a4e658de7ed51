"""Blame: a planted fault is found in every case, with its cause; figures are those of swaps."""

import json
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import lepton_cc
from lepton_cc.attribution.blame import Blame, blame
from lepton_cc.attribution.causes import Cause, LayerNoise
from lepton_cc.attribution.cure import Cure
from lepton_cc.attribution.swap import swapper
from lepton_cc.calibration.quantize import QuantizationOptions, QuantizedModel, quantize
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused, UsageError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from tests.lepton_cc.attribution.planted import (
    Planted,
    large_result_scale,
    large_weight_scale,
    outlier_channel,
    shifted_bias,
)
from tests.lepton_cc.cli.command_line import tool
from tests.real_models import REPOSITORY

DATA = REPOSITORY / "digits_samples.npz"
MODELS = ("digits_cnn", "digits_dscnn")


@cache
def _quantized(name: str) -> QuantizedModel:
    options = QuantizationOptions(WeightScheme.W8A8, DATA)
    found = quantize(import_model(REPOSITORY / f"{name}.onnx"), options)
    assert found is not None
    return found


def _blamed(name: str, planted: Graph, folder: Path) -> Blame:
    path = folder / "planted.onnx"
    onnx.save(onnx_model(planted), path)
    return blame(
        REPOSITORY / f"{name}.onnx", against=path, calibrate=DATA, samples=8, try_cures=False
    )


def _biased(graph: Graph, choice: int) -> Planted:
    return shifted_bias(graph, choice, {"image": np.load(DATA)["x"][:1]})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("plant", "cause"),
    [
        (large_result_scale, Cause.UNUSED_RANGE),
        (large_weight_scale, Cause.UNUSED_RANGE),
        (_biased, Cause.BIAS_SHIFT),
    ],
)
def test_planted_integers_are_found(
    plant: Callable[[Graph, int], Planted], cause: Cause, seed: int, tmp_path: Path
) -> None:
    name = MODELS[seed % 2]
    planted = plant(_quantized(name).graph, int(np.random.default_rng(seed).integers(100)))
    worst = _blamed(name, planted.graph, tmp_path).layers[0]
    assert worst.name.startswith(f"{planted.culprit}/")
    assert worst.cause is cause
    assert worst.advice.cure == Cure(scheme=WeightScheme.W8A8)


@pytest.mark.slow
def test_what_others_quantized_badly_is_mended_here(tmp_path: Path) -> None:
    planted = large_result_scale(_quantized("digits_cnn").graph, 1)
    path = tmp_path / "planted.onnx"
    onnx.save(onnx_model(planted.graph), path)
    found = blame(REPOSITORY / "digits_cnn.onnx", against=path, calibrate=DATA, samples=8)
    assert {trial.cure.scheme for trial in found.trials} == {WeightScheme.W8A8}
    assert found.advised is not None
    assert found.advised.cure == Cure(scheme=WeightScheme.W8A8)
    assert found.advised.quality.decibels > found.all_decibels + 3
    assert found.layers[0].advice.quality == found.advised.quality


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_planted_outliers_are_found_and_mended(seed: int, tmp_path: Path) -> None:
    source = REPOSITORY / f"{MODELS[seed % 2]}.onnx"
    choice = int(np.random.default_rng(seed).integers(100))
    model, culprit = outlier_channel(source, choice, seed)
    path = tmp_path / "outlier.onnx"
    onnx.save(model, path)
    found = blame(path, quantize="w8a8", calibrate=DATA, calibration_method="minmax", samples=8)
    assert culprit in found.layers[0].nodes
    assert found.layers[0].cause is Cause.RANGE_OUTLIER
    assert found.advised is not None
    without = blame(source, quantize="w8a8", calibrate=DATA, samples=8, try_cures=False)
    assert found.advised.quality.decibels > without.all_decibels - 3 > found.all_decibels


@pytest.mark.parametrize("seed", range(2))
def test_a_certain_softmax_hides_nothing(seed: int, tmp_path: Path) -> None:
    """Probabilities of 0 and 1 hardly change: the noise of what they are made of counts."""
    model = onnx.load(REPOSITORY / "digits_cnn.onnx")
    (output,) = model.graph.output
    factor = onnx.numpy_helper.from_array(np.asarray(40, np.float32), "factor")
    model.graph.initializer.append(factor)
    model.graph.node.extend(
        [
            onnx.helper.make_node("Mul", [output.name, "factor"], ["sharp"], name="sharpen"),
            onnx.helper.make_node("Softmax", ["sharp"], ["classes"], name="softmax"),
        ]
    )
    output.name = "classes"
    paths = tmp_path / "certain.onnx", tmp_path / "planted.onnx"
    onnx.save(model, paths[0])
    found = quantize(import_model(paths[0]), QuantizationOptions(WeightScheme.W8A8, DATA))
    assert found is not None
    planted = large_result_scale(found.graph, seed)
    onnx.save(onnx_model(planted.graph), paths[1])
    worst = blame(paths[0], against=paths[1], calibrate=DATA, samples=8).layers[0]
    assert worst.name.startswith(f"{planted.culprit}/")


def test_all_layers_float_are_the_float_model_and_all_quantized_the_quantized_one() -> None:
    found = _quantized("digits_dscnn")
    swapping = swapper(found.graph, found.prepared)
    sample = {"image": np.load(DATA)["x"][:1]}
    ours = interpret(swapping.variant(()), sample)
    theirs = interpret(found.prepared, sample)
    every = interpret(swapping.variant(range(len(swapping.layers))), sample)
    quantized = interpret(found.graph, sample)
    for name, array in theirs.items():
        assert np.array_equal(ours[name], array)
        assert np.array_equal(every[name], quantized[name])
        assert not np.array_equal(array, quantized[name])


def test_figures_and_scores_of_a_good_model() -> None:
    model = REPOSITORY / "digits_cnn.onnx"
    found = lepton_cc.blame(
        model, quantize="w8a8", calibrate=DATA, data=DATA, samples=8, try_cures=False
    )
    assert found.float_score == 0.99
    assert found.all_score is not None
    assert found.all_decibels > 30
    assert sum(layer.share for layer in found.layers) == pytest.approx(1)
    assert {layer.operation for layer in found.layers} == {"input", "conv", "matmul"}
    for layer in found.layers:
        # A part is quieter than the whole, and the whole without a part not much louder.
        assert layer.alone_decibels > found.all_decibels
        assert layer.without_decibels > found.all_decibels - 1
        assert layer.cause is Cause.ROUNDING


def test_four_bits_are_blamed_on_weights() -> None:
    model = REPOSITORY / "digits_cnn.onnx"
    worst = lepton_cc.blame(
        model, quantize="w4a8", calibrate=DATA, samples=8, try_cures=False
    ).layers[0]
    assert worst.noise.weights_bits == 4
    assert worst.noise.in_weights
    assert not worst.advice.quality
    assert worst.advice.cure is not None
    assert worst.advice.cure.text == f"--layer-scheme {worst.name}=w8a8"


def test_causes_follow_the_largest_part() -> None:
    assert LayerNoise(rounding=1, cancellation=0.1).cause is Cause.CANCELLATION
    assert LayerNoise(rounding=1, clipping=2).cause is Cause.SATURATION
    assert LayerNoise(rounding=1, kurtosis=200).cause is Cause.RANGE_OUTLIER
    assert LayerNoise(weights=1, weights_channel_ratio=20).cause is Cause.RANGE_OUTLIER
    assert LayerNoise(weights=1, weights_used_range=0.1).cause is Cause.UNUSED_RANGE
    assert LayerNoise(bias=1, weights=0.5).cause is Cause.BIAS_SHIFT
    assert LayerNoise().cause is Cause.ROUNDING


def test_the_command_prints_layers_and_json(tmp_path: Path) -> None:
    model = REPOSITORY / "digits_cnn.onnx"
    pixels = tmp_path / "pixels.npz"
    np.savez(pixels, x=np.rint(np.load(DATA)["x"] * 255).astype(np.uint8))
    words = ("blame", model, "--quantize=w8a8", "--calibrate", pixels)
    limits = ("--samples=4", "--divide-by=255")
    table = tool(*words, *limits)
    assert table.exit_code == 0, table.output
    assert "SQNR with all layers quantized" in table.output
    assert "gemm_1" in table.output
    assert "on the whole model, options of lepton compress" in table.output
    assert f" dB: lepton compress {model} --data {pixels} " in table.stdout.splitlines()[-1]
    assert "the data must be divided by 255 already" in table.stderr
    document = json.loads(tool(*words, *limits, "--json", "--no-try").stdout)
    assert not document["trials"]
    assert len(document["layers"]) == 4
    assert {layer["cause"] for layer in document["layers"]} == {"rounding"}


@pytest.mark.slow
def test_the_command_that_helps_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it prints is run as it is, and makes the model that it measured."""
    model = REPOSITORY / "digits_cnn.onnx"
    words = ("blame", model, "--quantize=w8a8", "--calibrate", DATA, "--samples", "4")
    printed = tool(*words, "--calibration-method=entropy")
    assert printed.exit_code == 0, printed.output
    gain, command = printed.stdout.splitlines()[-1].split(": ", 1)
    first, *arguments = shlex.split(command)
    assert first == "lepton"
    monkeypatch.chdir(tmp_path)
    done = tool(*arguments)
    assert done.exit_code == 0, done.output
    path = tmp_path / "build" / "digits_cnn" / "digits_cnn.onnx"
    again = blame(model, against=path, calibrate=DATA, samples=4, try_cures=False)
    assert gain.startswith(f"{gain.split()[0]} to {again.all_decibels:.1f} dB")


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    model = REPOSITORY / "digits_cnn.onnx"
    with pytest.raises(UsageError, match="give either"):
        blame(model)
    with pytest.raises(UsageError, match="give either"):
        blame(model, against=model, quantize="w8a8")
    with pytest.raises(Refused, match="has no quantized layer"):
        blame(model, against=model, calibrate=DATA)
    path = tmp_path / "other.onnx"
    onnx.save(onnx_model(_quantized("digits_dscnn").graph), path)
    with pytest.raises(Refused, match="layers with weights against 3 of the float model"):
        blame(model, against=path, calibrate=DATA)
