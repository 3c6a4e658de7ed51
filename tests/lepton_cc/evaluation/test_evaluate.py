"""Evaluation: metrics against their definitions, data refused, models against ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import lepton_cc
from lepton_cc.evaluation.data import ArrayForm, evaluation_data
from lepton_cc.evaluation.energy import COEFFICIENTS, energy_estimate
from lepton_cc.evaluation.metric import Metric, area_under_curve, record, score
from lepton_cc.evaluation.robustness import Perturbation, margin
from lepton_cc.ir.diagnostics import Refused, UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.types import TensorType
from tests.lepton_cc.cli.command_line import compile_, tool
from tests.lepton_cc.verify.quantized_models import qdq_model
from tests.real_models import REPOSITORY

MODEL = REPOSITORY / "digits_cnn.onnx"
DATA = REPOSITORY / "digits_samples.npz"
INPUT = (Value("x", TensorType(DType.F32, (1, 4))),)


def test_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels = np.array([0, 1, *rng.integers(0, 2, 40)])
        scores = rng.integers(0, 9, labels.size).astype(np.float64)
        # The share of pairs of both classes in the right order, a tie counting half.
        above = np.sign(scores[labels == 1][:, None] - scores[labels == 0][None, :])
        assert area_under_curve(scores, labels) == pytest.approx(float((above + 1).mean() / 2))


def test_records() -> None:
    output, x = np.array([[0.1, 0.7, 0.7, 0.2, 0.0, 0.3]]), np.zeros((1, 6))
    assert record(Metric.TOP1, x, output, np.array(1)) == 1
    assert record(Metric.TOP1, x, output, np.array(2)) == 0
    assert record(Metric.TOP5, x, output, np.array(0)) == 1
    assert record(Metric.TOP5, x, output, np.array(4)) == 0
    assert record(Metric.MSE, x, output, output + 2) == pytest.approx(4)
    assert record(Metric.RECONSTRUCTION_AUC, output - 1, output, np.array(1)) == pytest.approx(1)
    with pytest.raises(Refused, match="class 6 is none of the output's 6"):
        record(Metric.TOP1, x, output, np.array(6))


def test_windows_of_a_recording_are_averaged() -> None:
    recordings = np.arange(2 * 6 * 2, dtype=np.float16).reshape(2, 6, 2)
    arrays = {"r": recordings, "y": np.array([0, 1])}
    form = ArrayForm(divide_by=1, windows=2)
    data = evaluation_data(INPUT, arrays, Metric.RECONSTRUCTION_AUC, "y", form)
    samples = [sample["x"] for sample in data]
    assert data.samples_per_label == 5
    assert len(samples) == 10
    assert samples[6].tolist() == [[14, 15, 16, 17]]
    assert score(Metric.MSE, [1.0] * 5 + [3.0] * 5, np.array([0, 1]), 5) == 2


def test_all_problems_of_the_data_are_said_at_once() -> None:
    arrays = {"x": np.full((3, 4), np.nan, np.float32), "y": np.array([0.5, 1])}
    with pytest.raises(Refused) as caught:
        evaluation_data(INPUT, arrays, Metric.TOP1, "y", ArrayForm())
    text = str(caught.value)
    assert "12 NaN or infinite elements" in text
    assert "no list of whole numbers" in text
    assert set(one.code.value for one in caught.value.diagnostics) == {"LPT2004"}
    with pytest.raises(Refused, match="labels 'z' are missing"):
        evaluation_data(INPUT, arrays, Metric.TOP1, "z", ArrayForm())
    wrong = {"x": np.ones((3, 4), np.uint8), "y": np.array([0, 1, 2, 3])}
    with pytest.raises(Refused, match=r"is missing; there is x uint8\[3, 4\]"):
        evaluation_data((Value("a", INPUT[0].type),), wrong, Metric.TOP1, "y", ArrayForm())


def test_accuracy_is_that_of_onnxruntime_and_costs_fall() -> None:
    found = lepton_cc.evaluate(
        MODEL, DATA, quantize="w8a8", calibrate=DATA, cycles=True, perturbation=Perturbation()
    )
    arrays = np.load(DATA)
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    classes = [int(session.run(None, {"image": x[None]})[0].argmax()) for x in arrays["x"]]
    original, compressed = found.rows
    assert original.score == np.mean(np.array(classes) == arrays["y"])
    assert compressed.score >= original.score - 0.02
    assert compressed.sqnr_decibels is not None
    assert compressed.sqnr_decibels > 30
    assert compressed.costs.ram_bytes < original.costs.ram_bytes / 3
    assert compressed.costs.flash_bytes < original.costs.flash_bytes / 2
    assert compressed.costs.energy.total < original.costs.energy.total / 3
    assert original.costs.cycles is None
    engine = lepton_cc.compile(MODEL, target="lepton-npu", quantize="w8a8", calibrate=DATA).engine
    assert engine is not None
    assert compressed.costs.cycles == engine.cycles > 0
    for row in found.rows:
        assert row.noisy is not None
        assert row.attacked is not None
        # A step against the label does more than noise of two and a half times its size.
        assert row.attacked < row.noisy <= 1


def test_each_target_has_costs_of_its_own() -> None:
    options = ("--samples", "4", "--no-robustness", "--quantize", "w8a8", "--calibrate", DATA)
    targets = ("--target", "host", "--target", "lepton-npu")
    result = tool("eval", MODEL, "--data", DATA, *options, *targets)
    assert result.exit_code == 0, result.output
    lines = dict(
        line.strip().split("  ", 1) for line in result.output.splitlines() if "  " in line.strip()
    )
    model = lepton_cc.compile(MODEL, target="lepton-npu", quantize="w8a8", calibrate=DATA)
    assert model.engine is not None
    memory = model.memory
    for row, figure in (
        ("lepton-npu: flash, bytes", f"{memory.flash_bytes:,}"),
        (
            "lepton-npu: RAM: arena + stack, bytes",
            f"{memory.arena_bytes:,} + {memory.stack_bytes:,}",
        ),
        ("lepton-npu: engine cycles", f"{model.engine.cycles:,}"),
    ):
        assert lines[row].split("  ")[-1].strip() == figure
    assert "flash, bytes" in lines
    with pytest.raises(UsageError, match="no target"):
        lepton_cc.evaluate(MODEL, DATA, target=())


@pytest.mark.parametrize(
    "option",
    [
        ("--min-accuracy", "92"),
        ("--min-accuracy", "nan"),
        ("--noise", "-1"),
        ("--step", "nan"),
        ("--seed", "-1"),
    ],
)
def test_numbers_without_meaning_are_wrong_usage(option: tuple[str, str]) -> None:
    assert tool("eval", MODEL, "--data", DATA, *option).exit_code == 2


def test_robustness_is_the_same_for_a_seed_and_worse_for_larger_steps() -> None:
    weak, again, strong = (
        lepton_cc.evaluate(MODEL, DATA, samples=40, perturbation=by).rows[0]
        for by in (Perturbation(seed=4), Perturbation(seed=4), Perturbation(step=0.6, seed=4))
    )
    assert (weak.noisy, weak.attacked) == (again.noisy, again.attacked)
    assert weak.attacked is not None
    assert strong.attacked is not None
    assert strong.attacked < weak.attacked - 0.3


def test_margins_of_probabilities_are_taken_of_logarithms() -> None:
    assert margin(np.array([2.0, 5.0, 1.0]), 1) == -3
    saturated, more = np.array([1.0, 0.0, 0.0]), np.array([1 - 1e-3, 1e-3, 0.0])
    assert margin(saturated, 0) < margin(more, 0)


def test_energy_is_its_equation() -> None:
    model = lepton_cc.compile(MODEL)
    found = energy_estimate(model.layers, model.memory)
    macs = sum(layer.num_macs for layer in model.layers)
    assert found.multiply_adds == pytest.approx(macs * COEFFICIENTS.float_mac)
    assert found.constants == model.memory.constants_bytes * COEFFICIENTS.constant_byte
    assert found.total == found.multiply_adds + found.ram + found.constants


def test_the_gate_fails_with_the_figures(tmp_path: Path) -> None:
    folder = tmp_path / "build"
    assert compile_(MODEL, "--quantize=w8a8", "--calibrate", DATA, "-o", folder).exit_code == 0
    words = ("eval", MODEL, folder, "--data", DATA, "--no-robustness", "--json")
    passed = tool(*words, "--min-accuracy", "0.9")
    assert passed.exit_code == 0, passed.output
    document = json.loads(passed.stdout)
    assert [row["name"] for row in document["models"]] == ["digits_cnn", "build"]
    assert document["models"][1]["costs"]["energy"]["measured"] is False
    failed = tool(*words, "--min-accuracy", "0.999")
    assert failed.exit_code == 1
    assert "error[LPT5001]: build: top1 is 99.00%, below the limit of 99.90%" in failed.output
    assert json.loads(failed.stdout)["models"][0]["score"] == 0.99


def test_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    copy = tmp_path / "small" / MODEL.name
    copy.parent.mkdir()
    copy.write_bytes(MODEL.read_bytes())
    found = lepton_cc.evaluate([MODEL, copy], DATA, samples=2)
    assert [row.name for row in found.rows] == ["models/digits_cnn", "small/digits_cnn"]


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="metric 'f1' is none of"):
        lepton_cc.evaluate(MODEL, DATA, metric="f1")
    with pytest.raises(UsageError, match="no model"):
        lepton_cc.evaluate([], DATA)
    with pytest.raises(UsageError, match="needs a scheme"):
        lepton_cc.evaluate(MODEL, DATA, calibrate=DATA)
    other = tmp_path / "other.onnx"
    onnx.save(qdq_model(), other)
    with pytest.raises(Refused, match="has other inputs than digits_cnn"):
        lepton_cc.evaluate([MODEL, other], DATA)
