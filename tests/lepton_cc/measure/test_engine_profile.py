"""What the emulated engine took is what the compiler said; where it is not, the layer is named."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lepton_cc
from lepton_cc.artifacts.engine_files import read_payload_file
from lepton_cc.ir.diagnostics import Refused, ToolchainError
from lepton_cc.linking import find_toolchain
from lepton_cc.measure.engine_profile import engine_profile
from lepton_cc.measure.saved_profile import saved_engine_profile
from lepton_cc.npu.results import RetiredPacket
from lepton_cc.saved_model import SavedModel
from tests.lepton_cc.cli.command_line import compile_, tool


@pytest.fixture(scope="module")
def folder(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits_cnn at 8 bits with an image, its parts on the core told apart."""
    try:
        find_toolchain()
    except ToolchainError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("profile") / "out"
    result = compile_(
        project_root / "models" / "digits_cnn.onnx",
        *("--target=lepton-npu", "--quantize=w8a8", "--profile", "-q", "-o", folder),
    )
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def model(folder: Path, project_root: Path) -> SavedModel:
    """The model after a run."""
    model = SavedModel(folder)
    model.run({"image": np.load(project_root / "models" / "digits_samples.npz")["x"][:1]})
    return model


def profile_of(model: SavedModel, packets: tuple[RetiredPacket, ...]) -> None:
    assert model.engine is not None
    engine_profile(model.engine, read_payload_file(model.build), packets)


def test_measured_is_estimated(model: SavedModel, project_root: Path) -> None:
    image = np.load(project_root / "models" / "digits_samples.npz")["x"][:1]
    rows = saved_engine_profile(model, {"image": image})
    assert model.engine is not None
    assert model.emulated is not None
    assert [row.layer for row in rows] == [x for s in model.engine.segments for x in s.layers]
    assert all(row.is_as_estimated for row in rows)
    tails = sum(segment.tail_cycles for segment in model.engine.segments)
    measured = sum(row.measured.cycles for row in rows)
    assert measured + tails == model.emulated.engine_cycles == model.engine.cycles > 0


def test_another_time_is_an_error(model: SavedModel) -> None:
    assert model.emulated is not None
    packets = model.emulated.packets
    number, slow = next((i, p) for i, p in enumerate(packets) if p.layer == 2)
    late = dataclasses.replace(
        slow, cycles=dataclasses.replace(slow.cycles, setup=slow.cycles.setup + 1)
    )
    with pytest.raises(Refused, match=r"conv_2 .*layer 2 of segment 0"):
        profile_of(model, (*packets[:number], late, *packets[number + 1 :]))


def test_another_end_is_an_error(model: SavedModel) -> None:
    assert model.emulated is not None
    *packets, end = model.emulated.packets
    late = dataclasses.replace(end, begin=end.begin + 1, completion=end.completion + 1)
    with pytest.raises(Refused, match="segment 0 took"):
        profile_of(model, (*packets, late))


def test_a_packet_too_few_is_an_error(model: SavedModel) -> None:
    assert model.emulated is not None
    with pytest.raises(Refused, match="packets, not its streams"):
        profile_of(model, model.emulated.packets[:-2])


def test_bench_counts_the_engine_and_the_core_apart(folder: Path, model: SavedModel) -> None:
    document = json.loads(tool("bench", folder, "--json").stdout)
    assert model.emulated is not None
    assert document["engine_cycles"] == model.emulated.engine_cycles
    assert document["engine_macs"] > 0
    assert document["num_macs"] == 0
    assert "multiply-adds a cycle" in tool("bench", folder).stdout


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments with a softmax between them, compiled; its image."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (8, 8, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Softmax", ["a"], ["s"], name="middle", axis=1),
        helper.make_node("Conv", ["s", "w2"], ["y"], name="last", pads=[1, 1, 1, 1]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("x", 3), ("y", 8))
    ]
    graph = helper.make_graph(nodes, "split", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = tmp_path_factory.mktemp("split")
    onnx.save(model, folder / "split.onnx")
    np.save(folder / "x.npy", random.normal(0, 1, (1, 3, 8, 8)).astype(np.float32))
    arguments = ("--target=lepton-npu", "--quantize=w8a8", "-q", "-o", folder / "out")
    result = compile_(folder / "split.onnx", *arguments)
    assert result.exit_code == 0, result.output
    return folder


def test_segments_are_measured_one_by_one(folder: Path, split: Path) -> None:
    del folder  # skips without a tool chain
    model = SavedModel(split / "out")
    assert model.engine is not None
    assert len(model.engine.segments) == 2
    rows = saved_engine_profile(model, {"x": np.load(split / "x.npy")})
    assert [(row.segment, row.layer.nodes) for row in rows] == [(0, ("first",)), (1, ("last",))]
    page = split / "page.html"
    assert tool("inspect", split / "out", "--html", page).exit_code == 0
    assert "Segment 1" in page.read_text(encoding="utf-8")


def test_the_api_tells_what_the_command_line_does(project_root: Path) -> None:
    path = project_root / "models" / "digits_cnn.onnx"
    compiled = lepton_cc.compile(path, target="lepton-npu", quantize="w8a8")
    assert compiled.engine is not None
    assert compiled.engine.cycles > 0
    assert any(note.startswith("on the control core: quantize") for note in compiled.notes)
    assert lepton_cc.compile(path).engine is None


def test_run_prints_both_profiles(folder: Path, project_root: Path) -> None:
    samples = np.load(project_root / "models" / "digits_samples.npz")["x"][:1]
    image = folder.parent / "image.npy"
    np.save(image, samples)
    result = tool("run", folder, "--input", f"image={image}", "--profile")
    assert result.exit_code == 0, result.output
    assert "cycles of the engine" in result.stdout
    assert "tensor engine, sample 0" in result.stdout
    assert "instructions  a MAC" in result.stdout
    document = json.loads(
        tool("run", folder, "--input", f"image={image}", "--profile", "--json").stdout
    )[0]
    assert document["engine_cycles"] > 0
    rows = document["engine_profile"]
    assert [row["measured_cycles"] for row in rows] == [row["estimated_cycles"] for row in rows]
    assert document["profile"]
