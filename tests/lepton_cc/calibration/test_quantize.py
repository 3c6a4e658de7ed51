"""Float models to integer code, end to end: API, command line, manifest, determinism, targets."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import lepton_cc
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Refused, UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from tests.lepton_cc.cli.command_line import compile_
from tests.passes.quantize.quantized_models import Network, model_of

CLASSIFIERS = ("digits_cnn", "digits_dscnn", "digits_gru", "digits_lstm")
# Of 100 images.
ALLOWED_LOSS = {"w8a8": 1, "w4a8": 5}


@pytest.fixture(scope="module")
def models(project_root: Path) -> Path:
    return project_root / "models"


@pytest.fixture(scope="module")
def digits(models: Path) -> dict[str, Array]:
    with np.load(models / "digits_samples.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def calibration(digits: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "digits.npz"
    np.savez(path, image=digits["x"])
    return path


def _classes(model: lepton_cc.CompiledModel, images: Array) -> Array:
    outputs = [next(iter(model.run({"image": image[None]}).values())) for image in images]
    classes: Array = np.concatenate(outputs).argmax(axis=1)
    return classes


@pytest.mark.parametrize("scheme", ["w8a8", "w4a8"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_integers_classify_as_floats_do(
    name: str, scheme: str, models: Path, digits: dict[str, Array]
) -> None:
    path = models / f"{name}.onnx"
    right = np.count_nonzero(_classes(lepton_cc.compile(path), digits["x"]) == digits["y"])
    model = lepton_cc.compile(
        path, quantize=scheme, calibrate={"image": digits["x"]}, require_integer=True
    )
    assert model.notes == ()
    got = np.count_nonzero(_classes(model, digits["x"]) == digits["y"])
    assert got >= right - ALLOWED_LOSS[scheme]


@pytest.mark.parametrize("method", ["mse", "minmax", "percentile", "entropy"])
def test_every_method_works(method: str, models: Path, digits: dict[str, Array]) -> None:
    path = models / "digits_cnn.onnx"
    floats = lepton_cc.compile(path)
    model = lepton_cc.compile(
        path, quantize="w8a8", calibrate={"image": digits["x"]}, calibration_method=method
    )
    flips = np.count_nonzero(_classes(model, digits["x"]) != _classes(floats, digits["x"]))
    assert flips <= 2


@pytest.mark.slow
def test_levels_and_targets_agree(models: Path, digits: dict[str, Array]) -> None:
    path, image = models / "digits_dscnn.onnx", {"image": digits["x"][:1]}
    outputs = []
    for target, opt in (("x86-64", 0), ("x86-64", 3), ("host", 3), ("host", "s")):
        model = lepton_cc.compile(
            path, target=target, opt=opt, quantize="w8a8", calibrate={"image": digits["x"]}
        )
        outputs.append(next(iter(model.run(image).values())))
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_what_has_no_integer_form_is_named(digits: dict[str, Array], tmp_path: Path) -> None:
    net = Network((1, 1, 8, 8))
    x = net.node("Conv", "x", net.weight(4, 1, 3, 3))
    y = net.node("Conv", "x", net.weight(4, 1, 3, 3))
    net.output = net.node("Div", x, y)
    onnx.save(model_of(net), tmp_path / "ratio.onnx")
    with pytest.raises(Refused, match="in Div_2: div stays float"):
        lepton_cc.compile(
            tmp_path / "ratio.onnx",
            quantize="w8a8",
            calibrate={"x": digits["x"]},
            require_integer=True,
        )


def test_the_manifest_says_with_what(models: Path, calibration: Path, tmp_path: Path) -> None:
    arguments = (models / "digits_cnn.onnx", "--quantize=w4a8", "--calibrate", calibration)
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        result = compile_(*arguments, "--require-integer", "-o", folder)
        assert result.exit_code == 0, result.output
        assert "warning" not in result.stderr
    documents = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    assert documents[0] == documents[1]
    record = documents[0]["quantization"]
    assert (record["scheme"], record["method"], record["samples"]) == ("w4a8", "mse", 100)
    assert len(record["data_sha256"]) == 64
    assert record["seed"] is None
    assert record["weights"] == 3


def test_without_data_it_warns(models: Path, tmp_path: Path) -> None:
    result = compile_(models / "digits_cnn.onnx", "--quantize=w8a8", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "warning: quantized with 32 made-up samples (standard normal, seed 0)" in result.stderr
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())["quantization"]
    assert (record["data_sha256"], record["seed"]) == ("", 0)
    model = lepton_cc.compile(models / "digits_cnn.onnx", quantize="w8a8")
    assert any("made-up samples" in note for note in model.notes)


def test_wrong_wishes(models: Path, calibration: Path, tmp_path: Path) -> None:
    path = models / "digits_cnn.onnx"
    with pytest.raises(UsageError, match="none of none, w8a8, w4a8"):
        lepton_cc.compile(path, quantize="w2a2")
    with pytest.raises(UsageError, match="needs a scheme"):
        lepton_cc.compile(path, calibrate=calibration)
    assert compile_(path, "--calibrate", calibration).exit_code == 2
    result = compile_(path, "--quantize=w8a8", "--calibrate", path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "error[LPT2005]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_why_nothing_can_be_quantized_is_said() -> None:
    samples = {"x": np.zeros((2, 1, 4), np.float16) + np.arange(4, dtype=np.float16)}
    builder = GraphBuilder("half", ["x"])
    half = builder.input("x", TensorType(DType.F16, (1, 4)))
    graph = builder.finish([builder.emit(Clamp(0.0), half)], ["y"])
    with pytest.raises(Refused, match="it computes with f16, and only f32 is quantized"):
        quantize(graph, QuantizationOptions(WeightScheme.W8A8, samples))
