"""The Python API: compile, run, measure, report, save."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import lepton_cc
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.interpreter import interpret
from lepton_cc.saved_model import SavedModel


@pytest.fixture(scope="module")
def path(project_root: Path) -> Path:
    return project_root / "models" / "digits_cnn.onnx"


@pytest.fixture(scope="module")
def model(path: Path) -> lepton_cc.CompiledModel:
    return lepton_cc.compile(path)


@pytest.fixture(scope="module")
def image(project_root: Path) -> np.ndarray:
    return np.asarray(np.load(project_root / "models" / "digits_samples.npz")["x"][:1])


@pytest.mark.parametrize("opt", [0, 1, 2, 3, "s"])
def test_runs_like_the_interpreter(path: Path, image: np.ndarray, opt: int | str) -> None:
    model = lepton_cc.compile(path, target="host", opt=opt)
    expected = interpret(model.compilation.imported, {"image": image})["logits"]
    np.testing.assert_allclose(model.run({"image": image})["logits"], expected, 1e-4, 1e-5)


def test_takes_a_message_in_memory(path: Path, model: lepton_cc.CompiledModel) -> None:
    proto = onnx.load(path)
    other = lepton_cc.compile(proto, name="digits_cnn")
    assert other.artifacts.code.object_bytes == model.artifacts.code.object_bytes


def test_an_input_may_be_known_at_compile_time(path: Path, image: np.ndarray) -> None:
    fixed = lepton_cc.compile(path, constants={"image": image})
    assert fixed.inputs == ()
    expected = lepton_cc.compile(path).run({"image": image})["logits"]
    np.testing.assert_allclose(fixed.run({})["logits"], expected, 1e-4, 1e-5)


def test_memory_adds_up(model: lepton_cc.CompiledModel) -> None:
    memory = model.memory
    assert memory.arena_bytes == memory.lower_bound_bytes + memory.gap_bytes
    assert memory.flash_bytes == memory.code_bytes + memory.constants_bytes
    assert memory.ram_bytes == memory.arena_bytes + memory.stack_bytes + 256 + 40
    assert sum(t.size_bytes for t in memory.peak_tensors) == memory.lower_bound_bytes


def test_layers_name_their_nodes(path: Path, model: lepton_cc.CompiledModel) -> None:
    nodes = {node.name for node in onnx.load(path).graph.node}
    named = {node for layer in model.layers for node in layer.nodes}
    assert named <= nodes
    assert nodes - named <= {"flatten_1"}, "a reshape is no work; all else has a layer"
    assert model.layers[0].num_macs == 8 * 8 * 16 * 9


def test_bench_measures_the_run(model: lepton_cc.CompiledModel, image: np.ndarray) -> None:
    seconds = model.bench(500, {"image": image})
    assert 1e-8 < seconds < 1e-2


def test_bench_refuses_an_emulated_target(path: Path) -> None:
    with pytest.raises(lepton_cc.Refused, match="its time means nothing"):
        lepton_cc.compile(path, target="rv32imc").bench(1)


def test_instructions_belong_to_the_emulator(
    model: lepton_cc.CompiledModel, image: np.ndarray
) -> None:
    model.run({"image": image})
    with pytest.raises(UsageError, match="emulator"):
        _ = model.last_instructions
    with pytest.raises(UsageError, match="emulator"):
        _ = model.last_engine_cycles


def test_saved_is_what_was_compiled(
    model: lepton_cc.CompiledModel, image: np.ndarray, tmp_path: Path
) -> None:
    model.save(tmp_path)
    saved = SavedModel(tmp_path)
    assert saved.build.memory == model.memory
    assert saved.build.layers == model.layers
    assert saved.build.target == model.compilation.options.target
    assert [port.type for port in saved.build.interface.inputs] == [p.type for p in model.inputs]
    got = saved.run({"image": image})["logits"]
    assert got.tobytes() == model.run({"image": image})["logits"].tobytes()


def test_wrong_arguments(path: Path) -> None:
    with pytest.raises(UsageError, match="opt=4"):
        lepton_cc.compile(path, opt=4)
    with pytest.raises(lepton_cc.Refused, match="LPT3003"):
        lepton_cc.compile(path, target="z80")


def test_importing_costs_nothing(project_root: Path) -> None:
    code = "import lepton_cc, sys; print([m for m in ('numpy', 'onnx') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_cpu_does_not_wait_for_the_code_generator_of_the_engine(project_root: Path) -> None:
    """Modules that every target imports: the engine's cycles, machines and encodings at most."""
    code = (
        "import lepton_cc.compiled_model, sys\n"
        "rooms = ('placement', 'schedule', 'segment', 'select')\n"
        "print([room for room in rooms if f'lepton_cc.codegen.npu.{room}' in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_version_is_the_packages(project_root: Path) -> None:
    text = (project_root / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{lepton_cc.__version__}"' in text


def test_an_unknown_attribute(path: Path) -> None:
    with pytest.raises(AttributeError, match="no attribute 'kompile'"):
        _ = lepton_cc.kompile
    assert {"compile", "CompiledModel"} <= set(dir(lepton_cc))
