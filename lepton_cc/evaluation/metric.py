"""What quality means: one number for all samples, from what each output says."""

import enum
from collections.abc import Sequence

import numpy as np

from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.tensor import Array


class Metric(enum.Enum):
    """The values of `--metric`. All but `mse` are better when larger, from 0 to 1."""

    TOP1 = "top1"
    TOP5 = "top5"
    AUC = "auc"
    RECONSTRUCTION_AUC = "reconstruction-auc"
    MSE = "mse"

    @property
    def classifies(self) -> bool:
        """True if labels are classes of which the output has a score each."""
        return self in (Metric.TOP1, Metric.TOP5)

    @property
    def ranks(self) -> bool:
        """True if labels are 0 and 1, and only the order of the scores counts."""
        return self in (Metric.AUC, Metric.RECONSTRUCTION_AUC)

    @property
    def is_better_large(self) -> bool:
        """True if a limit is a least value."""
        return self is not Metric.MSE

    def text(self, score: float) -> str:
        """For people: shares in per cent, areas and errors as they are."""
        if self.classifies:
            return f"{score:.2%}"
        return f"{score:.4f}" if self.ranks else f"{score:.6g}"


def record(metric: Metric, sample: Array, output: Array, label: Array | None) -> float:
    """What one sample contributes: 1 or 0 for a hit, a score to rank by, or a squared error.

    `sample`: the first input. `auc` ranks by the last element of the output, which must have one or
    two; `reconstruction-auc` by the mean squared difference of output and input.

    Raises:
        Refused: the output has no form that the metric can read.
    """
    flat = output.reshape(-1).astype(np.float64)
    if metric.classifies:
        if label is None or not 0 <= int(label) < flat.size:
            raise _unreadable(metric, f"class {label} is none of the output's {flat.size}")
        # Of equal scores the first counts, as argmax has it.
        order = np.argsort(-flat, kind="stable")[: 1 if metric is Metric.TOP1 else 5]
        return float(int(label) in order)
    if metric is Metric.AUC:
        if flat.size not in (1, 2):
            raise _unreadable(metric, f"the output has {flat.size} elements and not one or two")
        return float(flat[-1])
    wanted = sample if metric is Metric.RECONSTRUCTION_AUC else label
    if wanted is None or wanted.size != flat.size:
        of = "input" if metric is Metric.RECONSTRUCTION_AUC else "label"
        raise _unreadable(metric, f"the output has {flat.size} elements, and not those of the {of}")
    return float(np.mean((flat - wanted.reshape(-1).astype(np.float64)) ** 2))


def _unreadable(metric: Metric, reason: str) -> Exception:
    return refuse(
        Code.BAD_INPUT_DATA, f"{metric.value}: {reason}", hint="choose another metric or output"
    )


def score(metric: Metric, records: Sequence[float], labels: Array, per_label: int) -> float:
    """All samples' records as one number; those of one label are averaged first."""
    means = np.asarray(records, np.float64).reshape(-1, per_label).mean(axis=1)
    return area_under_curve(means, labels) if metric.ranks else float(means.mean())


def area_under_curve(scores: Array, labels: Array) -> float:
    """The chance that a random 1 scores above a random 0; equal scores count half.

    By ranks: Mann and Whitney's U. NaN if one of the classes does not occur.
    """
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    if not values.size:
        return float("nan")
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = labels == 1
    num_positive, num_negative = np.count_nonzero(positive), np.count_nonzero(~positive)
    if not num_positive or not num_negative:
        return float("nan")
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))
