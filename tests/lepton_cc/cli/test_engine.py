"""The tensor engine on the command line: artifacts, notes, `inspect`, systems, budgets."""

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lepton_cc.engine_report.document import EngineReport
from lepton_cc.ir.lir_file import read_lir
from tests.lepton_cc.cli.command_line import compile_, tool

QUANTIZED = ("--target=lepton-npu", "--quantize=w8a8", "--emit=lib")


@pytest.fixture(scope="module")
def models(project_root: Path) -> Path:
    return project_root / "models"


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits_dscnn at 8 bits."""
    folder = tmp_path_factory.mktemp("engine") / "dscnn"
    result = compile_(models / "digits_dscnn.onnx", *QUANTIZED, "-q", "-o", folder)
    assert result.exit_code == 0, result.output
    return folder


def report_in(folder: Path) -> EngineReport:
    (path,) = folder.glob("*_engine.json")
    return EngineReport.from_json(path.read_text(encoding="utf-8"))


def test_payload_and_report_are_in_the_manifest(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    for name in ("digits_dscnn.lpt", "digits_dscnn_engine.json"):
        assert files[name]["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_payload_is_the_one_in_the_library(folder: Path) -> None:
    payload = (folder / "digits_dscnn.lpt").read_bytes()
    assert payload in (folder / "digits_dscnn.a").read_bytes()


def test_the_compiler_says_what_it_left_to_the_core(models: Path, tmp_path: Path) -> None:
    model = models / "digits_dscnn.onnx"
    result = compile_(model, *QUANTIZED, "-o", tmp_path / "out")
    assert "note: lepton-npu: on the control core: quantized_softmax (softmax_1" in result.stderr
    assert "every op" not in result.stderr
    assert "engine " in result.stdout
    assert "note:" not in compile_(model, *QUANTIZED, "-q", "-o", tmp_path / "out").output


def test_inspect_shows_layers_and_reasons(folder: Path) -> None:
    result = tool("inspect", folder)
    assert result.exit_code == 0, result.output
    report = report_in(folder)
    assert f"{report.cycles:,}" in result.stdout
    assert f"{report.cycles / 500e3:.3f} ms" in result.stdout
    for segment in report.segments:
        for layer in segment.layers:
            assert f" {layer.operation} " in result.stdout
    assert "the engine has no instruction for it" in result.stdout
    assert "a column is" not in result.stdout
    assert "0000 check" not in result.stdout


def test_inspect_draws_and_disassembles(folder: Path) -> None:
    result = tool("inspect", folder, "--timeline", "--disassemble", "--mhz", "100")
    assert result.exit_code == 0, result.output
    assert "compute queue" in result.stdout
    assert "0000 check" in result.stdout
    assert "at 100 MHz" in result.stdout


def test_json_holds_it_all(folder: Path) -> None:
    document = json.loads(tool("inspect", folder, "--json", "--disassemble").stdout)
    engine, report = document["engine"], report_in(folder)
    assert engine["cycles"] == report.cycles
    assert engine["milliseconds"] == pytest.approx(report.cycles / 500e3)
    assert len(engine["segments"][0]["layers"]) == len(report.segments[0].layers)
    assert engine["disassembly"][1].startswith("0000 check")
    assert document["layers"]


def test_a_model_and_its_folder_are_alike(models: Path, folder: Path) -> None:
    arguments = ("--target=lepton-npu", "--quantize=w8a8", "--json")
    result = tool("inspect", models / "digits_dscnn.onnx", *arguments)
    assert result.exit_code == 0, result.output
    document, saved = (
        json.loads(result.stdout),
        json.loads(tool("inspect", folder, "--json").stdout),
    )
    assert document["engine"] == saved["engine"]
    assert document["layers"] == saved["layers"]


def test_floats_that_are_kept_run_on_the_core_alone(models: Path) -> None:
    options = ("--target=lepton-npu", "--quantize=none", "--json")
    result = tool("inspect", models / "digits_dscnn.onnx", *options)
    assert result.exit_code == 0, result.output
    engine = json.loads(result.stdout)["engine"]
    assert engine["segments"] == []
    assert {op["code"] for op in engine["core"]} >= {"float"}


def test_a_float_model_runs_on_the_engine_unless_told_not_to(models: Path) -> None:
    result = tool("inspect", models / "digits_dscnn.onnx", "--target=lepton-npu", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["engine"]["segments"] != []


@pytest.mark.parametrize("source", ["folder", "payload"])
def test_html_is_one_well_formed_page(folder: Path, tmp_path: Path, source: str) -> None:
    page = tmp_path / "page.html"
    what = folder if source == "folder" else folder / "digits_dscnn.lpt"
    result = tool("inspect", what, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    words = " ".join(ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n")).itertext())
    for layer in report_in(folder).segments[0].layers:
        assert (" " if source == "folder" else "+").join(layer.nodes) in words
    first = page.read_bytes()
    tool("inspect", what, "--html", page)
    assert page.read_bytes() == first


def test_html_of_a_processor_without_engine(models: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = tool("inspect", models / "digits_cnn.onnx", "--html", page, "-O2")
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>\n")
    assert "conv_1" in " ".join(ElementTree.fromstring(text).itertext())


def test_a_payload_alone(folder: Path) -> None:
    result = tool("inspect", folder / "digits_dscnn.lpt")
    assert result.exit_code == 0, result.output
    assert f"{report_in(folder).cycles:,}" in result.stdout
    assert "a payload does not say" in result.stdout
    assert "note:" not in result.stderr


def test_a_payload_in_another_system(folder: Path) -> None:
    result = tool("inspect", folder / "digits_dscnn.lpt", "--system", "on-chip", "--json")
    assert result.exit_code == 0, result.output
    engine = json.loads(result.stdout)
    assert engine["machine"]["system"] == "on-chip"
    assert engine["cycles"] < report_in(folder).cycles
    assert "was made for another system or machine" in result.stderr


def test_a_damaged_payload_is_refused(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "digits_dscnn.lpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "x.lpt").write_bytes(content)
    result = tool("inspect", tmp_path / "x.lpt")
    assert result.exit_code == 1
    assert "checksum" in result.stderr


@pytest.mark.parametrize("option", ["--timeline", "--disassemble"])
def test_what_only_an_engine_has(models: Path, option: str) -> None:
    result = tool("inspect", models / "digits_cnn.onnx", option)
    assert result.exit_code == 2
    assert f"{option}: x86-64 has no tensor engine" in result.stderr


def test_another_system_is_another_time(models: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = models / "digits_dscnn.onnx"
    result = compile_(model, *QUANTIZED, "--system=on-chip", "-q", "-o", out)
    assert result.exit_code == 0, result.output
    report = report_in(out)
    assert report.machine.system == "on-chip"
    assert report.cycles < report_in(folder).cycles
    assert tool("inspect", out).exit_code == 0


def test_another_machine_to_compare_with(models: Path, folder: Path) -> None:
    arguments = ("--target=lepton-npu", "--quantize=w8a8", "--json")
    found = {}
    for machine in ("native", "parity", "u55-clone"):
        model = models / "digits_dscnn.onnx"
        result = tool("inspect", model, *arguments, "--profile-machine", machine)
        assert result.exit_code == 0, result.output
        engine = json.loads(result.stdout)["engine"]
        assert engine["machine"]["profile"] == machine
        found[machine] = engine["cycles"]
    assert found["native"] == report_in(folder).cycles
    assert found["native"] <= found["parity"] < found["u55-clone"]


def test_a_system_of_the_users(models: Path, folder: Path, tmp_path: Path) -> None:
    text = 'description = "slow"\n[constants]\nbytes_per_cycle = 0.25\nlatency = 9\n'
    system = tmp_path / "mine.toml"
    system.write_text(f"{text}[system]\nbytes_per_cycle = 2\nlatency = 3\n", encoding="utf-8")
    out = tmp_path / "out"
    model = models / "digits_dscnn.onnx"
    result = compile_(model, *QUANTIZED, "--system", system, "-q", "-o", out)
    assert result.exit_code == 0, result.output
    report = report_in(out)
    assert (report.machine.system, report.machine.constants_port.latency) == ("mine", 9)
    assert report.machine.constants_port.bytes_per_cycle == 0.25
    assert report.cycles > report_in(folder).cycles
    assert str(tmp_path) not in (out / "manifest.json").read_text(encoding="utf-8")
    assert tool("inspect", out).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--system=on-chip",), 2, "--system: x86-64 has no tensor engine"),
        (("--sram-budget=8",), 2, "--sram-budget: x86-64 has no tensor engine"),
        (("--profile-machine=parity",), 2, "--profile-machine: x86-64 has no tensor engine"),
        (("--target=lepton-npu", "--profile-machine=u65"), 2, "'u65' is not one of"),
        (("--target=lepton-npu-64", "--profile-machine=u55-clone"), 1, "128 or 256 MACs"),
        (("--target=lepton-npu", "--system=nowhere"), 1, "choose one of embedded, on-chip"),
        (("--target=lepton-npu", "--sram-budget=0"), 2, "neither KiB nor curve"),
        (("--target=lepton-npu", "--sram-budget=x"), 2, "neither KiB nor curve"),
        (("--target=lepton-npu-64", "--sram-budget=129"), 1, "has 128 KiB of scratchpad"),
        (
            ("--target=lepton-npu", "--quantize=none", "--sram-budget=curve"),
            1,
            "nothing of the model runs on",
        ),
    ],
)
def test_options_that_cannot_be(
    models: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = compile_(models / "digits_cnn.onnx", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_budgets(models: Path, tmp_path: Path) -> None:
    model = models / "digits_dscnn.onnx"
    result = compile_(model, *QUANTIZED, "--sram-budget=curve", "--json", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    points = json.loads(result.stdout)
    assert not (tmp_path / "out").exists()
    assert [p["budget_kib"] for p in points] == sorted({p["budget_kib"] for p in points})
    assert all(p["used_bytes"] <= p["budget_kib"] * 1024 for p in points)
    assert points[-1]["budget_kib"] == 384
    least = points[0]
    arguments = (*QUANTIZED, "-q", "-o", tmp_path / "out")
    fitting = compile_(model, *arguments, f"--sram-budget={least['budget_kib']}")
    assert fitting.exit_code == 0, fitting.output
    report = report_in(tmp_path / "out")
    assert (report.cycles, report.segments[0].spm_bytes) == (least["cycles"], least["used_bytes"])
    if least["budget_kib"] > 1:
        refused = compile_(model, *arguments, f"--sram-budget={least['budget_kib'] - 1}")
        assert refused.exit_code == 1
        assert "error[LPT4001]: the engine needs" in refused.stderr


def test_graphs_with_segments_can_be_written_and_read(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = compile_(models / "digits_dscnn.onnx", *QUANTIZED[:2], "--emit=ir", "-q", "-o", out)
    assert result.exit_code == 0, result.output
    result = tool("inspect", out / "digits_dscnn.lir")
    assert result.exit_code == 0, result.output
    assert "engine_segment" in result.stdout
    again = tmp_path / "again.lir"
    result = tool("opt", out / "digits_dscnn.lir", "-p", "eliminate-dead-code", "-o", again)
    assert result.exit_code == 0, result.output
    assert read_lir(again) == read_lir(out / "digits_dscnn.lir")
