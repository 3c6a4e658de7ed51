"""`lepton verify` on quantized models: steps, named modes, labels, exit codes."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import real_models
from tests.lepton_cc.cli.command_line import compile_, tool
from tests.lepton_cc.verify.quantized_models import inputs, qdq_model

MODES = ["QDQ fused", "QDQ default", "QDQ unfused"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a quantized model, what it compiles to, and data for it."""
    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(qdq_model(), folder / "small.onnx")
    np.savez(
        folder / "data.npz",
        x=np.concatenate([sample["x"] for sample in inputs(6)]),
        y=np.zeros(6, np.int64),
    )
    result = compile_(folder / "small.onnx", "--verify", "-q", "-o", folder / "out")
    assert result.exit_code == 0, result.output
    return folder


def test_json(workplace: Path) -> None:
    arguments = ("--against", workplace / "small.onnx", "--data", workplace / "data.npz")
    result = tool("verify", workplace / "out", *arguments, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["quantized"], document["samples"], document["layer_samples"]) == (True, 6, 4)
    (output,) = document["interpreter"]["outputs"]
    assert (output["exact"], output["num_elements"], output["max_steps"]) == (True, 20, 0)
    assert all(sum(layer["histogram"][1:]) == 0 for layer in document["interpreter"]["layers"])
    assert document["interpreter"]["first_diverging"] is None
    assert [mode["mode"] for mode in document["onnxruntime"]] == MODES
    assert document["onnxruntime"][0]["setting"] == "session.qdqisint8allowed=1"
    assert document["accuracy"] == document["onnxruntime"][0]["accuracy"]
    assert len(document["step_classes"]) == len(output["histogram"])


def test_for_people(workplace: Path) -> None:
    result = tool("verify", workplace / "out", "--against", workplace / "small.onnx", "--seed", "5")
    assert result.exit_code == 0, result.output
    for text in (*MODES, "layers against the interpreter", "are equal", "argmax flips"):
        assert text in result.stdout
    assert "accuracy" not in result.stdout


def test_the_number_of_samples(workplace: Path) -> None:
    arguments = ("--against", workplace / "small.onnx", "--samples", "2", "--no-layers", "--json")
    document = json.loads(tool("verify", workplace / "out", *arguments).stdout)
    assert (document["samples"], document["layer_samples"]) == (2, 2)
    assert document["interpreter"]["layers"] == []
    assert all(mode["layers"] == [] for mode in document["onnxruntime"])


def test_another_model_fails(workplace: Path) -> None:
    proto = qdq_model()
    weights = next(tensor for tensor in proto.graph.initializer if tensor.name == "w2_q")
    array = -onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    other = workplace / "other.onnx"
    onnx.save(proto, other)
    result = tool("verify", workplace / "out", "--against", other)
    assert result.exit_code == 1
    assert "is not the file that" in result.stderr
    assert "y differs from the interpreter" in result.stderr
    assert "away from every mode of ONNX Runtime" in result.stderr


def test_real_data(tmp_path: Path) -> None:
    model = real_models.TINY_INT8[1]
    path = model.require()
    data = real_models.SHARED / "data" / "kws_eval.npz"
    if not data.is_file():
        pytest.skip("no ../shared/data beside the checkout")
    assert compile_(path, "-q", "-o", tmp_path / "kws").exit_code == 0
    arguments = ("--against", path, "--data", data, "--samples", "200", "--json")
    result = tool("verify", tmp_path / "kws", *arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    fused = document["onnxruntime"][0]
    assert fused["outputs"][0]["num_elements"] == 200 * 12
    assert fused["outputs"][0]["max_steps"] <= 1
    assert document["accuracy"] >= fused["accuracy"] - 0.001 > 0.85
