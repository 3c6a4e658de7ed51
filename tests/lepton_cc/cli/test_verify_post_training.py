"""`lepton verify` of a float model that was quantized here: quality, integers, the right data."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.lepton_cc.cli.command_line import compile_, tool

NAME = "digits_dscnn"


@pytest.fixture(scope="module")
def model(project_root: Path) -> Path:
    return project_root / "models" / f"{NAME}.onnx"


@pytest.fixture(scope="module")
def data(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    with np.load(project_root / "models" / "digits_samples.npz") as arrays:
        np.savez(path, image=arrays["x"], y=arrays["y"])
    return path


@pytest.fixture(scope="module")
def build(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "out"
    result = compile_(model, "--quantize=w8a8", "--calibrate", data, "--verify", "-o", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_quality_and_layers(model: Path, data: Path, build: Path) -> None:
    result = tool(
        "verify", build, "--against", model, "--data", data, "--calibrate", data, "--json"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    (output,) = report["outputs"]
    assert output["sqnr_decibels"] > 20
    assert output["steps"]["argmax_flips"] <= 2
    assert report["accuracy"] >= report["float_accuracy"] - 0.02
    assert report["interpreter"]["first_diverging"] is None
    exact = [one for one in report["interpreter"]["layers"] if one["exact"]]
    assert len(exact) > 10


def test_without_the_data_outputs_are_compared(model: Path, data: Path, build: Path) -> None:
    result = tool("verify", build, "--against", model, "--data", data, "--samples=20")
    assert result.exit_code == 0, result.output
    assert "give --calibrate" in result.stderr
    assert "SQNR, dB" in result.stdout
    assert "float model" in result.stdout


def test_other_data_are_refused(model: Path, build: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    images = np.random.default_rng(0).uniform(0, 1, (5, 1, 8, 8)).astype(np.float32)
    np.savez(other, image=images)
    result = tool("verify", build, "--against", model, "--calibrate", other)
    assert result.exit_code == 1
    assert "holds other data" in result.stderr


def test_made_up_samples_need_no_file(model: Path, tmp_path: Path) -> None:
    assert compile_(model, "--quantize=w4a8", "-o", tmp_path / "out").exit_code == 0
    result = tool("verify", tmp_path / "out", "--against", model, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["interpreter"]["first_diverging"] is None
