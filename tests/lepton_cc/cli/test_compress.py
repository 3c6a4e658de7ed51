"""`lepton compress`: what it writes runs in ONNX Runtime and compiles to the same integers."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import lepton_cc
from lepton_cc.compression.compress import compress
from lepton_cc.compression.quantize_stage import QuantizeStage
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.lir_file import read_lir
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.lepton_cc.cli.command_line import compile_, tool

NUM_SAMPLES = 20


@pytest.fixture
def data(project_root: Path, tmp_path: Path) -> Path:
    images = np.load(project_root / "models" / "digits_samples.npz")["x"][:NUM_SAMPLES]
    path = tmp_path / "data.npz"
    np.savez(path, image=images)
    return path


@pytest.mark.parametrize(
    ("scheme", "method", "options"),
    [
        ("w8a8", "plain", ()),
        ("w4a8", "gptq", ("--equalize",)),
        pytest.param("w4a8", "adaround", ("--no-bias-correction",), marks=pytest.mark.slow),
        pytest.param("w8a16", "gptq", (), marks=pytest.mark.slow),
    ],
)
def test_files_say_the_same(
    project_root: Path, data: Path, tmp_path: Path, scheme: str, method: str, options: tuple[str]
) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    arguments = ("--data", data, "--quantize", scheme, "--method", method, *options)
    result = tool("compress", model, *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out"
    report = json.loads((folder / "report.json").read_text())
    (quantization,) = report["stages"]
    assert (quantization["scheme"], quantization["method"]) == (scheme, method)
    assert report["num_samples"] == NUM_SAMPLES
    assert [layer["bits"] for layer in quantization["layers"]].count(4) == (
        2 if "w4" in scheme else 0
    )
    graph = read_lir(folder / "digits_cnn.lir")
    raised = PassManager(LEVELS[OptLevel.O0].passes).run(graph)
    compiled = lepton_cc.compile(folder / "digits_cnn.onnx", target="x86-64")
    session = onnxruntime.InferenceSession(str(folder / "digits_cnn.onnx"))
    samples = np.load(project_root / "models" / "digits_samples.npz")
    name, dims = graph.inputs[0].name, graph.inputs[0].type.dims
    right = 0
    for x, label in zip(samples["x"][NUM_SAMPLES:], samples["y"][NUM_SAMPLES:], strict=True):
        feed = {name: x.reshape(dims)}
        (output,) = graph.output_names
        expected = interpret(raised, feed)[output]
        np.testing.assert_array_equal(compiled.run(feed)[output], expected)
        (theirs,) = session.run(None, feed)
        assert np.argmax(theirs) == np.argmax(expected) or scheme == "w4a8"
        right += int(np.argmax(expected) == label)
    assert right >= 78


def test_the_graph_compiles_to_the_code_of_the_model(
    project_root: Path, data: Path, tmp_path: Path
) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    assert tool("compress", model, "--data", data, "-o", tmp_path / "out").exit_code == 0
    for suffix in ("onnx", "lir"):
        compressed = tmp_path / "out" / f"digits_cnn.{suffix}"
        result = compile_(
            compressed, "--target", "rv32imc", "--emit", "lib", "-o", tmp_path / suffix
        )
        assert result.exit_code == 0, result.output
    archives = [(tmp_path / suffix / "digits_cnn.a").read_bytes() for suffix in ("onnx", "lir")]
    assert archives[0] == archives[1]
    graph = tmp_path / "out" / "digits_cnn.lir"
    for options in (("--verify",), ("--dim", "batch=1")):
        refused = compile_(graph, *options, "-o", tmp_path / "none")
        assert refused.exit_code == 2, refused.output


def test_the_original_is_not_overwritten(project_root: Path, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes((project_root / "models" / "digits_cnn.onnx").read_bytes())
    before = model.read_bytes()
    result = tool("compress", model, "--data", data, "-o", tmp_path)
    assert result.exit_code == 1
    assert "would be overwritten" in result.output
    assert model.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "data.npz"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--quantize", "none", "--method", "gptq", "--smooth"), "--method, --smooth"),
        (("--target", "rv32imc"), "--prune"),
        (("--quantize", "w4a8", "--mixed", "0%"), "above 0"),
        (("--quantize", "w4a8", "--mixed", "-5dB"), "30dB"),
    ],
)
def test_options_without_effect_are_refused(
    project_root: Path, data: Path, options: tuple[str, ...], words: str
) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    result = tool("compress", model, "--data", data, *options)
    assert result.exit_code == 2
    assert words in result.output


def test_errors_are_smaller_than_to_nearest(project_root: Path, data: Path, tmp_path: Path) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    arguments = ("--data", data, "--quantize", "w4a8", "--json")
    reports = [
        json.loads(tool("compress", model, *arguments, "--method", method, "-o", tmp_path).output)
        for method in ("gptq", "adaround")
    ]
    for report in reports:
        narrow = [layer for layer in report["stages"][-1]["layers"] if layer["bits"] == 4]
        assert narrow
        for layer in narrow:
            assert layer["error"] < 0.7 * layer["error_to_nearest"]


def test_a_float_model_is_written_too(project_root: Path, data: Path, tmp_path: Path) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    result = tool("compress", model, "--data", data, "--quantize", "none", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["stages"] == []
    sessions = [
        onnxruntime.InferenceSession(str(path))
        for path in (model, tmp_path / "out" / "digits_cnn.onnx")
    ]
    x = np.load(data)["image"][:1]
    (port,) = sessions[0].get_inputs()
    first, second = (one.run(None, {port.name: x.reshape(port.shape)})[0] for one in sessions)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


def test_it_writes_the_same_bytes_again(project_root: Path, data: Path, tmp_path: Path) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    for folder in ("one", "two"):
        arguments = ("--data", data, "--quantize", "w4a8", "-o", tmp_path / folder)
        assert tool("compress", model, *arguments).exit_code == 0
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_what_onnx_cannot_say_is_named_and_the_rest_written(tmp_path: Path) -> None:
    """A Resize without what lies outside has taps that no Resize to a size has by default."""
    sizes = onnx.numpy_helper.from_array(np.asarray([1, 1, 7], np.int64), "sizes")
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", exclude_outside=1, name="stretch"
    )
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, size))
        for name, size in (("x", 4), ("y", 7))
    ]
    graph = helper.make_graph([node], "stretched", ports[:1], ports[1:], [sizes])
    opset = [helper.make_opsetid("", 18)]
    model = tmp_path / "stretched.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), model)
    samples = np.random.default_rng(0).standard_normal((4, 1, 1, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    result = tool("compress", model, "--data", tmp_path / "data.npz", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "resample cannot be written as ONNX" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".npz") == [
        "report.json",
        "stretched.lir",
    ]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["problems"]


def test_progress_is_told(project_root: Path, data: Path) -> None:
    told: list[str] = []
    stage = QuantizeStage()
    compress(project_root / "models" / "digits_cnn.onnx", data, (stage,), progress=told.append)
    assert told[0] == "quantize"
    assert told[1] == f"quantize: run 1, sample 0 of {NUM_SAMPLES}"


@pytest.mark.parametrize("options", [(), ("--smooth",)])
def test_scales_move_into_weights_when_asked(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A channel of the norm is 50 times the others, and its weights as much smaller."""
    width = 16
    generator = np.random.default_rng(0)
    scale = np.ones(width, np.float32)
    scale[3] = 50
    weights = generator.standard_normal((width, width)).astype(np.float32)
    weights[3] /= 50
    constants = [
        onnx.numpy_helper.from_array(array, name)
        for name, array in (("scale", scale), ("weights", weights))
    ]
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale"], ["normed"], axis=-1),
        helper.make_node("MatMul", ["normed", "weights"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (4, width)) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "outlier", ports[:1], ports[1:], constants)
    model = tmp_path / "outlier.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), model)
    samples = generator.standard_normal((8, 4, width)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    words = ("--data", tmp_path / "data.npz", "--method", "plain", "-o", tmp_path / "out", "--json")
    result = tool("compress", model, *words, *options)
    assert result.exit_code == 0, result.output
    (quantization,) = json.loads(result.stdout)["stages"]
    assert quantization["smoothed_values"] == len(options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--layer-scheme", "conv_9=w4a8"), "no layer is called 'conv_9'"),
        (("--layer-scheme", "conv_9"), "is not NAME=SCHEME"),
        (("--mixed", "some"), "neither a size like 60%"),
    ],
)
def test_choices_of_widths_that_make_no_sense_are_refused(
    project_root: Path, data: Path, tmp_path: Path, option: tuple[str, ...], message: str
) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    result = tool("compress", model, "--data", data, *option, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_data_are_asked_for(project_root: Path) -> None:
    result = tool("compress", project_root / "models" / "digits_cnn.onnx")
    assert result.exit_code == 2
    assert "--data" in result.output
