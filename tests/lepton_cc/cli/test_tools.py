"""`lepton run`, `inspect`, `verify`, `opt` and the listings, on what `lepton-cc` wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from lepton_cc.ir.lir_file import read_lir
from lepton_cc.linking import find_toolchain
from tests.lepton_cc.cli.command_line import compile_, tool


@pytest.fixture(scope="module")
def models(project_root: Path) -> Path:
    return project_root / "models"


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits_cnn for the host."""
    folder = tmp_path_factory.mktemp("compiled") / "digits"
    assert compile_(models / "digits_cnn.onnx", "-q", "-o", folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def image_file(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "image.npy"
    np.save(path, np.load(models / "digits_samples.npz")["x"][:1])
    return path


def test_run_gives_what_the_api_gives(models: Path, folder: Path, image_file: Path) -> None:
    result = tool("run", folder, "--input", f"image={image_file}", "--json")
    assert result.exit_code == 0, result.output
    expected = lepton_cc.compile(models / "digits_cnn.onnx").run({"image": np.load(image_file)})
    (sample,) = json.loads(result.stdout)
    assert sample["outputs"]["logits"] == expected["logits"].tolist()


def test_run_writes_outputs(models: Path, folder: Path, tmp_path: Path) -> None:
    samples = models / "digits_samples.npz"
    out = tmp_path / "out.npz"
    result = tool("run", folder, "--input", samples, "--output", out)
    assert result.exit_code == 0, result.output
    logits = np.load(out)["logits"]
    assert logits.shape == (100, 1, 10)
    right = np.count_nonzero(logits[:, 0].argmax(axis=1) == np.load(samples)["y"])
    assert right >= 95
    first = out.read_bytes()
    tool("run", folder, "--input", samples, "--output", out)
    assert out.read_bytes() == first


@pytest.mark.parametrize(("scheme", "least"), [("none", 1_000_000), ("w8a8", 10_000)])
def test_run_on_the_control_core(
    models: Path, tmp_path: Path, image_file: Path, scheme: str, least: int
) -> None:
    try:
        find_toolchain()
    except lepton_cc.LeptonError as error:
        pytest.skip(str(error))
    out = tmp_path / "npu"
    model = models / "digits_cnn.onnx"
    options = ("--target=lepton-npu", f"--quantize={scheme}", "-q", "-o", out)
    assert compile_(model, *options).exit_code == 0
    result = tool("run", out, "--input", f"image={image_file}", "--json")
    (sample,) = json.loads(result.stdout)
    assert int(np.argmax(sample["outputs"]["logits"])) == 3
    assert sample["instructions"] > least
    assert ("engine_cycles" in sample) == (scheme == "w8a8")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert 0 < sample["stack_high_water_bytes"] <= manifest["memory"]["stack_bytes"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "input 'image' (f32[1, 1, 8, 8]) is missing"),
        (("--input", "image=absent.npy"), 1, "cannot read absent.npy"),
        (("--input", "image.npy"), 2, "neither NAME=FILE.npy nor DATA.npz"),
    ],
)
def test_run_refuses_wrong_inputs(
    folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = tool("run", folder, *arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_run_refuses_another_dtype(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8)))
    result = tool("run", folder, "--input", f"image={tmp_path / 'x.npy'}")
    assert result.exit_code == 1
    assert "nothing is converted silently" in result.stderr


def test_a_changed_file_is_noticed(models: Path, tmp_path: Path, image_file: Path) -> None:
    out = tmp_path / "out"
    assert compile_(models / "digits_cnn.onnx", "-q", "-o", out).exit_code == 0
    library = bytearray((out / "digits_cnn.a").read_bytes())
    library[-100] ^= 1
    (out / "digits_cnn.a").write_bytes(library)
    result = tool("run", out, "--input", f"image={image_file}")
    assert result.exit_code == 1
    assert "digits_cnn.a has changed since it was written" in result.stderr


@pytest.mark.parametrize("command", ["run", "inspect"])
def test_a_folder_that_is_no_build(tmp_path: Path, command: str) -> None:
    result = tool(command, tmp_path)
    assert result.exit_code == 1
    assert "no folder that lepton-cc wrote" in result.stderr


def test_inspect_a_folder_equals_inspect_its_model(models: Path, folder: Path) -> None:
    of_folder = tool("inspect", folder, "--json")
    of_model = tool("inspect", models / "digits_cnn.onnx", "--json")
    assert of_folder.exit_code == 0
    assert json.loads(of_folder.stdout) == json.loads(of_model.stdout)
    assert sum(layer["num_macs"] for layer in json.loads(of_model.stdout)["layers"]) == 84224


def test_inspect_for_people(folder: Path) -> None:
    result = tool("inspect", folder)
    for text in ("proven optimal", "conv_1 batchnormalization_1 relu_1", "buf.relu_1.out"):
        assert text in result.stdout


def test_verify(models: Path, folder: Path) -> None:
    data = models / "digits_samples.npz"
    result = tool(
        "verify", folder, "--against", models / "digits_cnn.onnx", "--data", data, "--json"
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["samples"] == 100
    (logits,) = document["outputs"]
    assert logits["argmax_flips"] == 0
    assert logits["num_elements"] == 1000
    assert len(document["layers"]) == 5


def test_verify_against_another_model_fails(models: Path, folder: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(models / "digits_cnn.onnx")
    weights = proto.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), weights.name))
    onnx.save(proto, tmp_path / "other.onnx")
    result = tool("verify", folder, "--against", tmp_path / "other.onnx", "--no-layers")
    assert result.exit_code == 1
    assert "is not the file that" in result.stderr
    assert "error[LPT5001]: output 'logits'" in result.stderr


def test_opt_prints_what_it_reads_back(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "graph.lir"
    pipeline = "fold-constants,(canonicalize,eliminate-dead-code)*"
    written = tool("opt", models / "digits_cnn.onnx", "-p", pipeline, "-o", out)
    assert written.exit_code == 0, written.output
    assert read_lir(out).output_names == ("logits",)
    again = tool("opt", out)
    assert again.exit_code == 0
    assert again.stdout.startswith("graph ")
    assert tool("inspect", out).exit_code == 0


def test_opt_refuses_an_unknown_pass(models: Path) -> None:
    result = tool("opt", models / "digits_cnn.onnx", "-p", "no-such-pass")
    assert result.exit_code == 2
    assert "there is no pass 'no-such-pass'" in result.stderr


def test_listings() -> None:
    listing = json.loads(tool("targets", "--json").stdout)
    targets = listing["targets"]
    assert {"host", "x86-64", "lepton-npu", "rv32imc"} <= {row["name"] for row in targets}
    engines = {row["name"]: row["engine"] for row in targets}
    assert engines["x86-64"] is None
    assert engines["lepton-npu-64"]["spm_bytes"] == 128 * 1024
    assert {"embedded", "on-chip"} <= {system["name"] for system in listing["systems"]}
    text = tool("targets").stdout
    assert "tensor engines" in text
    assert "for --system" in text
    ops = json.loads(tool("ops", "--json").stdout)
    assert {"Conv", "MatMul", "LSTM"} <= {row["op_type"] for row in ops}
    assert "Conv" in tool("ops").stdout
    doctor = tool("doctor")
    assert doctor.exit_code == 0
    assert "llvmlite" in doctor.stdout


def test_an_unknown_command_is_refused() -> None:
    result = tool("decompress")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_a_closed_pipe_is_no_bug(project_root: Path) -> None:
    code = "from lepton_cc.cli.main import lepton; lepton(['ops'])"
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    result = subprocess.run(
        ["sh", "-c", f'{sys.executable} -c "{code}" | head -n 1'],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "internal error" not in result.stderr
