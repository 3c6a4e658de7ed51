"""`lepton bench`, and `--profile` of `run`, `bench` and `lepton-cc`."""

import json
import os
from pathlib import Path

import pytest

import lepton_cc
from lepton_cc.linking import find_toolchain
from tests.lepton_cc.cli.command_line import compile_, tool

NUM_MACS = 84224


@pytest.fixture(scope="module")
def model(project_root: Path) -> Path:
    return project_root / "models" / "digits_cnn.onnx"


@pytest.fixture(scope="module")
def samples(project_root: Path) -> Path:
    return project_root / "models" / "digits_samples.npz"


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(model, tmp_path_factory)


@pytest.fixture(scope="module")
def profiled(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(model, tmp_path_factory, "--profile")


def _build(model: Path, factory: pytest.TempPathFactory, *options: str) -> Path:
    folder = factory.mktemp("bench") / "out"
    result = compile_(model, "--target=host", *options, "-q", "-o", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_a_model_against_onnxruntime(model: Path) -> None:
    before = os.sched_getaffinity(0)
    result = tool("bench", model, "--against", "onnxruntime", "--runs", "50", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["num_macs"] == NUM_MACS
    assert 0 < document["seconds"] < 0.1
    assert document["gmacs"] == pytest.approx(NUM_MACS / document["seconds"] / 1e9)
    theirs = document["onnxruntime"]["seconds"]
    assert document["ratio"] == pytest.approx(theirs / document["seconds"])
    assert document["profile"] == []
    assert len(document["cpus"]) == 1
    assert os.sched_getaffinity(0) == before


def test_a_folder_takes_as_long_as_its_model(model: Path, plain: Path) -> None:
    """One order of magnitude: a busy machine tells no more."""
    seconds = [
        json.loads(tool("bench", each, "--json").stdout)["seconds"] for each in (model, plain)
    ]
    assert 0.1 < seconds[0] / seconds[1] < 10


def test_for_people(model: Path, plain: Path, samples: Path) -> None:
    arguments = ("--against", model, "--data", samples, "--runs", "20")
    result = tool("bench", plain, *arguments)
    assert result.exit_code == 0, result.output
    for text in ("lepton-cc", "ONNX Runtime", "times as long", "GMAC/s", "84,224 MACs"):
        assert text in result.stdout


def test_threads_compute_and_end(model: Path, plain: Path) -> None:
    for each in (model, plain):
        result = tool("bench", each, "--threads", "2", "--runs", "20", "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["threads"] == 2


def test_profile_of_a_model(model: Path) -> None:
    result = tool("bench", model, "--profile", "--runs", "20", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    _check_profile(document["profile"])
    if document["peak_gmacs"]["f32"] is not None:
        convolution = document["profile"][0]
        assert 0 < convolution["share_of_peak"] < 1.5


def test_profile_of_a_folder(profiled: Path, samples: Path) -> None:
    for command in (("run", profiled, "--input", samples), ("bench", profiled, "--runs", "20")):
        result = tool(*command, "--profile", "--json")
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        rows = document[0]["profile"] if isinstance(document, list) else document["profile"]
        _check_profile(rows)
    text = tool("bench", profiled, "--runs", "20", "--profile").stdout
    assert "conv_1 batchnormalization_1 relu_1" in text


def _check_profile(rows: list[dict[str, object]]) -> None:
    assert [row["number"] for row in rows] == list(range(len(rows)))
    assert sum(float(str(row["share"])) for row in rows) == pytest.approx(1)
    assert sum(int(str(row["num_macs"])) for row in rows) == NUM_MACS
    assert all(float(str(row["seconds"])) >= 0 for row in rows)
    assert rows[0]["nodes"] == ["conv_1", "batchnormalization_1", "relu_1"]


def test_hooks_change_no_output(plain: Path, profiled: Path, samples: Path) -> None:
    outputs = [
        [sample["outputs"] for sample in json.loads(tool(*arguments).stdout)]
        for arguments in (
            ("run", plain, "--input", samples, "--json"),
            ("run", profiled, "--input", samples, "--json"),
        )
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("command", ["run", "bench"])
def test_code_without_hooks_has_no_profile(plain: Path, samples: Path, command: str) -> None:
    more = ("--input", samples) if command == "run" else ()
    result = tool(command, plain, *more, "--profile")
    assert result.exit_code == 2
    assert "compile it with --profile" in result.stderr


def test_a_folder_does_not_hold_its_model(plain: Path) -> None:
    result = tool("bench", plain, "--against", "onnxruntime")
    assert result.exit_code == 2
    assert "give its file" in result.stderr


def test_an_emulated_target_has_no_time(model: Path) -> None:
    result = tool("bench", model, "--target", "rv32imc")
    assert result.exit_code == 1
    assert "its time means nothing" in result.stderr


def test_an_emulated_core_counts_instructions(model: Path, tmp_path: Path) -> None:
    try:
        find_toolchain()
    except lepton_cc.LeptonError as error:
        pytest.skip(str(error))
    out = tmp_path / "core"
    options = ("--target=rv32imafc", "--emit=lib,elf", "--profile", "-q", "-o", out)
    assert compile_(model, *options).exit_code == 0
    document = json.loads(tool("bench", out, "--profile", "--json").stdout)
    rows = document["profile"]
    assert sum(row["instructions"] for row in rows) == pytest.approx(document["instructions"])
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    layers = [row for row in rows if "number" in row]
    assert sum(row["num_macs"] for row in layers) == NUM_MACS
    second = layers[2]
    assert second["nodes"][0] == "conv_2"
    assert 1 < second["instructions_per_mac"] < 30
    assert second["share"] > 0.5
    assert tool("bench", out, "--against", model).exit_code == 2
