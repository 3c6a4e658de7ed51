"""`lepton compress --prune`: zeros reach the files, and what they save is said."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.lepton_cc.cli.command_line import tool


@pytest.fixture
def data(project_root: Path, tmp_path: Path) -> Path:
    images = np.load(project_root / "models" / "digits_samples.npz")["x"][:40]
    path = tmp_path / "data.npz"
    np.savez(path, image=images)
    return path


def test_zeros_are_written_and_what_they_save(
    project_root: Path, data: Path, tmp_path: Path
) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    options = ("--prune", "unstructured:0.5", "--quantize", "none", "--no-fit")
    result = tool("compress", model, "--data", data, *options, "--target", "x86-64", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "saves 0 cycles on this target" in result.stderr
    (stage,) = json.loads((tmp_path / "report.json").read_text())["stages"]
    assert (stage["stage"], stage["pattern"]) == ("prune", "unstructured:0.5")
    assert any("size_bytes" in layer for layer in stage["layers"])
    nodes = {node.name for node in onnx.load(model).graph.node}
    assert all(layer["nodes"] and set(layer["nodes"]) <= nodes for layer in stage["layers"])
    constants = onnx.load(tmp_path / "digits_cnn.onnx").graph.initializer
    zeros = sum(int(np.count_nonzero(numpy_helper.to_array(one) == 0)) for one in constants)
    assert zeros >= sum(layer["num_zeros"] for layer in stage["layers"]) > 0


@pytest.mark.slow
def test_channels_leave_before_rounding(project_root: Path, data: Path, tmp_path: Path) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    options = ("--prune", "channels:0.3", "--no-fit", "--quantize", "w8a8")
    result = tool("compress", model, "--data", data, *options, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    pruning, quantization = json.loads((tmp_path / "report.json").read_text())["stages"]
    assert any(layer["channels"][0] > layer["channels"][1] for layer in pruning["layers"])
    assert pruning["num_macs"][1] < 0.9 * pruning["num_macs"][0]
    assert "saves" not in result.stderr
    assert quantization["scheme"] == "w8a8"


def test_an_unknown_way_is_a_wrong_usage(project_root: Path, data: Path, tmp_path: Path) -> None:
    model = project_root / "models" / "digits_cnn.onnx"
    result = tool("compress", model, "--data", data, "--prune", "half", "-o", tmp_path)
    assert result.exit_code == 2
    assert "'half' says no way to prune" in result.stderr
