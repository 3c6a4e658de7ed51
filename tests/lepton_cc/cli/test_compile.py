"""`lepton-cc`: what it writes, prints and refuses, with which exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lepton_cc.codegen.targets.loader import target_names
from lepton_cc.ir.tensor import Array
from lepton_cc.thread_pool import ThreadPool
from tests.lepton_cc.cli.command_line import compile_


@pytest.fixture
def model(project_root: Path) -> Path:
    return project_root / "models" / "digits_cnn.onnx"


def saved_model(folder: Path, *op_types: str, dims: tuple[str | int, ...] = (2,)) -> Path:
    """A chain of operators of one operand."""
    names = [f"v{number}" for number in range(len(op_types) + 1)]
    graph = helper.make_graph(
        [
            helper.make_node(op_type, [names[number]], [names[number + 1]], name=f"node{number}")
            for number, op_type in enumerate(op_types)
        ],
        "chain",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, dims)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    path = folder / "chain.onnx"
    onnx.save(proto, path)
    return path


def test_writes_library_header_plan_and_manifest(model: Path, tmp_path: Path) -> None:
    result = compile_(model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"digits_cnn.a", "digits_cnn.h", "digits_cnn.plan.json", "manifest.json"}
    assert "84,224 multiply-adds" in result.stdout
    assert result.stderr == ""


def test_the_default_folder_is_below_build(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compile_(model, "-q", "--name", "digits").exit_code == 0
    assert (tmp_path / "build" / "digits" / "digits.h").is_file()


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3", "-Os"])
def test_levels(model: Path, tmp_path: Path, level: str) -> None:
    result = compile_(model, level, "-q", "-o", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["options"]["level"] == level[2:]


def test_every_kind_of_output(model: Path, tmp_path: Path) -> None:
    kinds = "lib,obj,asm,c,llvm,ir,program"
    assert compile_(model, "--emit", kinds, "-q", "-o", tmp_path / "out").exit_code == 0
    suffixes = {"".join(path.suffixes) for path in (tmp_path / "out").iterdir()}
    assert {".a", ".o", ".s", ".c", ".ll", ".lir", ".program.txt", ".plan.json"} <= suffixes


def test_json_is_the_manifest(model: Path, tmp_path: Path) -> None:
    result = compile_(model, "--json", "-o", tmp_path / "out")
    document = json.loads(result.stdout)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert document == {"folder": str(tmp_path / "out"), **manifest}


def test_floats_that_are_kept_run_on_the_control_core(model: Path, tmp_path: Path) -> None:
    options = ("--target=lepton-npu", "--quantize=none", "--emit=lib", "-o", tmp_path / "out")
    result = compile_(model, *options)
    assert result.exit_code == 0
    assert "note: lepton-npu: every op runs on the control core" in result.stderr


def test_the_npu_quantizes_on_the_way_and_says_so(model: Path, tmp_path: Path) -> None:
    result = compile_(model, "--target=lepton-npu", "--emit=lib", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "note: lepton-npu: on the control core: quantize, dequantize" in result.stderr
    assert "made-up samples" in result.stderr
    assert (tmp_path / "out" / f"{model.stem}.lpt").is_file()


def test_dumps_and_prints_graphs(model: Path, tmp_path: Path) -> None:
    result = compile_(
        *(model, "-q", "-o", tmp_path / "out"),
        *("--dump-ir", tmp_path / "ir", "--print-ir-after", "fold-batchnorm"),
    )
    assert result.exit_code == 0
    assert result.stdout.startswith("// after fold-batchnorm\ngraph ")
    dumped = sorted(path.name for path in (tmp_path / "ir").iterdir())
    assert dumped[0] == "00-import.lir"
    assert "program.txt" in dumped


def test_verify_passes_on_what_is_right(model: Path, tmp_path: Path) -> None:
    result = compile_(model, "--target=host", "--verify", "-q", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output


def test_verify_fails_on_what_is_wrong(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lepton_cc.executable import Executable

    whole = Executable.run

    def off(
        self: Executable, inputs: dict[str, Array], *, threads: ThreadPool | None
    ) -> dict[str, Array]:
        outputs = whole(self, inputs, threads=threads)
        return {name: np.add(array, 1) for name, array in outputs.items()}

    monkeypatch.setattr(Executable, "run", off)
    result = compile_(model, "--target=host", "--verify", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "error[LPT5001]: output 'logits': 10 of 10 elements" in result.stderr
    assert not (tmp_path / "out").exists()


def test_verbose_shows_passes(model: Path, tmp_path: Path) -> None:
    result = compile_(model, "-v", "-o", tmp_path / "out")
    assert "fold-batchnorm" in result.stdout
    assert "stages: import" in result.stdout


def test_all_refusals_come_at_once(tmp_path: Path) -> None:
    path = saved_model(tmp_path, "Relu", "NoSuchOp", "Relu")
    proto = onnx.load(path)
    proto.graph.node.append(helper.make_node("AlsoMissing", ["v0"], ["w"], name="second"))
    proto.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    onnx.save(proto, path)
    result = compile_(path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count("error[LPT1003]") == 2
    assert "NoSuchOp" in result.stderr
    assert "AlsoMissing" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_an_open_dimension_is_bound(tmp_path: Path) -> None:
    path = saved_model(tmp_path, "Relu", dims=("batch", 4))
    refused = compile_(path, "-o", tmp_path / "out")
    assert refused.exit_code == 1
    assert "--dim batch=" in refused.stderr
    assert compile_(path, "--dim", "batch=3", "-q", "-o", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-O4",), "'4' is not one of"),
        (("--emit=exe",), "'exe' is not a valid EmitKind; there are lib"),
        (("--emit=elf",), "x86-64 is no bare-metal target"),
        (("--dim=batch",), "'batch' is not NAME=N"),
        (("--dim=batch=-1",), "'batch=-1' is not NAME=N"),
        (("--print-ir-after=nothing",), "there is no pass 'nothing'"),
        (("-j0",), "x>=1"),
        (("--quantize=w2a8",), "'w2a8' is not one of"),
    ],
)
def test_wrong_usage(model: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = compile_(model, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_target_lists_the_known(model: Path) -> None:
    result = compile_(model, "--target=z80")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[LPT3003]: there is no target 'z80'")
    assert all(name in result.stderr for name in target_names())


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    result = compile_(path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[LPT100")


def test_a_bug_of_ours_leaves_a_reproducer(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    from lepton_cc import compiler

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("the scheduler fell over")

    monkeypatch.setattr(compiler, "assemble", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = compile_(model, "-o", tmp_path / "out")
    assert result.exit_code == 70
    first, second = result.stderr.splitlines()
    assert first == "internal error: RuntimeError: the scheduler fell over"
    (folder,) = tmp_path.glob("lepton-cc-bug-*")
    assert str(folder) in second
    assert "in broken" in (folder / "report.txt").read_text(encoding="utf-8")
    assert (folder / "last.lir").read_text(encoding="utf-8").count("conv(") == 2
    assert "Traceback" in compile_(model, "-vv", "-o", tmp_path / "out").stderr


def test_a_place_that_cannot_be_written_is_no_bug(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for option in ("-o", "--dump-ir"):
        result = compile_(model, "-q", "-o", tmp_path / "out", option, tmp_path / "file" / "below")
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith("error[LPT3004]: ")
        assert not (tmp_path / "out").exists()


def test_help_is_fast(project_root: Path) -> None:
    text = (
        "import sys\n"
        "from lepton_cc.cli.main import lepton_cc\n"
        "lepton_cc(['--help'], standalone_mode=False)\n"
        "print([m for m in ('numpy', 'onnx', 'llvmlite', 'rich') if m in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - started < 2


def test_a_killed_run_leaves_nothing(project_root: Path, model: Path, tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "whole = Path.write_bytes\n"
        "def slow(path, data):\n"
        "    whole(path, data)\n"
        "    if path.suffix == '.a':\n"
        "        print('now', flush=True)\n"
        "        time.sleep(60)\n"
        "Path.write_bytes = slow\n"
        "from lepton_cc.cli.main import lepton_cc\n"
        "lepton_cc()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    command = [sys.executable, "-c", code, str(model), "-q", "-o", str(tmp_path / "out")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []
