"""Generated code is as good as ONNX Runtime on real data: the same class for each sample.

Closeness of outputs alone would not say what a user asks. Metrics of the models are those that
their authors publish (MLPerf Tiny: top-1, and AUC over the files of the anomaly detector).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from lepton_cc.ir.tensor import Array
from tests import real_models
from tests.accuracy.both import Both, FloatArray, load_data, one_by_one
from tests.real_models import RealModel

IC, KWS, VWW, AD, SWW = real_models.TINY
IC_INT8, KWS_INT8, VWW_INT8, AD_INT8, SWW_INT8 = real_models.TINY_INT8
MNIST = real_models.OTHER[0]
STORIES = real_models.OTHER[4]
MAGIKA = real_models.OTHER[7]

AD_FRAMES = 5
AD_QUICK_FILES = 24
# ROC curves are made of ranks of scores; scores of the two differ in their last digits.
AUC_TOLERANCE = 1e-4
# A tenth of a point.
ALLOWED_LOSS = 1e-3


@dataclass(frozen=True, slots=True)
class Task:
    """A classifier, its data, how pixels become floats, and the accuracy that it is known for.

    `num_flips`: samples that may go to another class. With VNNI none do; without it ONNX Runtime
    multiplies 8-bit integers by an instruction that saturates 16-bit sums.
    """

    model: RealModel
    data: str
    num_samples: int
    accuracy: float
    divisor: float = 1.0
    num_flips: int = 0
    slow: bool = False

    def inputs(self, x: Array) -> Iterator[Array]:
        """Batches of one."""
        if self.model is MAGIKA:
            return one_by_one(x.astype(np.int32))
        return one_by_one((x.astype(np.float32) / self.divisor).astype(np.float32))


# Accuracies of the int8 models are ONNX Runtime's; see their authors for the float ones.
TASKS = (
    Task(IC, "ic_eval", 1002, 0.880),
    Task(KWS, "kws_eval", 1000, 0.918),
    Task(VWW, "vww_eval", 520, 0.801, divisor=255.0),
    Task(MNIST, "mnist_eval", 2000, 0.983),
    Task(MAGIKA, "magika_eval", 79, 0.974, slow=True),
    Task(IC_INT8, "ic_eval", 1002, 0.877, num_flips=3),
    Task(KWS_INT8, "kws_eval", 1000, 0.911, num_flips=3),
    Task(VWW_INT8, "vww_eval", 520, 0.803, divisor=255.0, num_flips=3),
)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, id=str(task.model), marks=[pytest.mark.slow] if task.slow else [])
        for task in TASKS
    ],
)
def test_same_class_for_every_sample(task: Task) -> None:
    data = load_data(task.data)
    assert len(data["y"]) == task.num_samples
    ours, theirs = Both(task.model).outputs(task.inputs(data["x"]))
    flips = np.count_nonzero(ours.argmax(axis=1) != theirs.argmax(axis=1))
    assert flips <= task.num_flips
    accuracy, reference = (np.mean(x.argmax(axis=1) == data["y"]) for x in (ours, theirs))
    assert accuracy >= max(task.accuracy, reference - ALLOWED_LOSS)


@pytest.mark.parametrize("model", [SWW, SWW_INT8], ids=str)
def test_wake_words_in_a_stream(model: RealModel) -> None:
    data = load_data("sww_stream")
    ours, theirs = Both(model).outputs(one_by_one(data["x"]))
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))
    heard = data["window_end_seconds"][ours.argmax(axis=1) == 0]
    for start in data["wakeword_start_seconds"]:
        # A window holds 30 frames of 20 ms; the word must be found soon after it was said.
        assert ((heard >= start) & (heard <= start + 1.6)).any()
    assert all(any(s <= t <= s + 1.6 for s in data["wakeword_start_seconds"]) for t in heard)


@pytest.mark.parametrize(
    "num_files",
    [pytest.param(AD_QUICK_FILES, id="few"), pytest.param(400, id="all", marks=pytest.mark.long)],
)
def test_anomaly_detection(num_files: int) -> None:
    data = load_data("ad_eval")
    chosen = np.linspace(0, len(data["y"]) - 1, num_files).astype(np.int64)
    labels = data["y"][chosen]
    windows = np.concatenate([_windows(data["x"][number]) for number in chosen])
    ours, theirs = Both(AD).outputs(one_by_one(windows))
    assert 0 < labels.sum() < num_files
    score, expected = (_file_scores(windows, each, num_files) for each in (ours, theirs))
    np.testing.assert_allclose(score, expected, rtol=1e-5)
    assert abs(_auc(score, labels) - _auc(expected, labels)) <= AUC_TOLERANCE
    if num_files == 400:
        assert _auc(score, labels) == pytest.approx(0.891, abs=0.001)


@pytest.mark.slow
def test_anomaly_detection_by_integers() -> None:
    data = load_data("ad_eval")
    labels, num_files = data["y"], len(data["y"])
    windows = np.concatenate([_windows(spectrogram) for spectrogram in data["x"]])
    ours, theirs = Both(AD_INT8).outputs(one_by_one(windows))
    auc, reference = (_auc(_file_scores(windows, x, num_files), labels) for x in (ours, theirs))
    assert auc >= reference - ALLOWED_LOSS
    assert auc == pytest.approx(0.850, abs=0.001)


def test_cross_entropy_of_a_language_model() -> None:
    tokens = load_data("stories260k_tokens")["eval_ids"]
    ours, theirs = Both(STORIES).outputs(one_by_one(tokens))
    assert _cross_entropy(ours, tokens) == pytest.approx(_cross_entropy(theirs, tokens), abs=1e-5)
    assert _cross_entropy(ours, tokens) == pytest.approx(1.125, abs=0.001)


def _windows(spectrogram: Array) -> FloatArray:
    """[frames, 640]: five consecutive frames of 128 bands each."""
    frames = spectrogram.astype(np.float32)
    count = len(frames) - AD_FRAMES + 1
    return np.stack([frames[i : i + AD_FRAMES].reshape(-1) for i in range(count)])


def _file_scores(windows: FloatArray, rebuilt: FloatArray, num_files: int) -> FloatArray:
    """Mean squared error of each file."""
    errors = np.mean((windows.astype(np.float64) - rebuilt) ** 2, axis=1)
    scores: FloatArray = errors.reshape(num_files, -1).mean(axis=1).astype(np.float32)
    return scores


def _auc(scores: FloatArray, labels: Array) -> float:
    """Area under the ROC curve: how often an anomaly scores above a normal file (Mann-Whitney)."""
    anomalies, normals = scores[labels == 1], scores[labels == 0]
    above = anomalies[:, None] > normals[None, :]
    equal = anomalies[:, None] == normals[None, :]
    return float(np.mean(above + 0.5 * equal))


def _cross_entropy(logits: FloatArray, tokens: Array) -> float:
    """Mean of -log p(next token), in nats; logits `[N, 64, 512]`."""
    wide = logits.astype(np.float64)[:, :-1]
    wide -= wide.max(axis=2, keepdims=True)
    log_sum = np.log(np.exp(wide).sum(axis=2))
    chosen = np.take_along_axis(wide, tokens[:, 1:, None], axis=2)[..., 0]
    return float(np.mean(log_sum - chosen))
