"""Labelled samples of an evaluation: read, brought into the model's form as told, and checked."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton_cc.calibration.data import CalibrationData, calibration_data
from lepton_cc.evaluation.metric import Metric
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.sample_inputs import read_inputs

DataSource = str | os.PathLike[str] | Mapping[str, Array]
_MAX_EXACT_CLASSES = 2


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """How arrays become inputs; nothing is converted that these do not name.

    divide_by: numbers that are no f32 become f32, divided by this; 0: they stay as they are.
    windows: each recording `[steps, features]` becomes its windows of so many steps, flattened, one
    after the other; 0: samples are as they are.
    """

    divide_by: float = 0.0
    windows: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """Samples with what is known of each; `samples_per_label` windows belong to one label."""

    samples: CalibrationData
    labels: Array | None
    samples_per_label: int

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return self.samples.samples()


def evaluation_data(
    inputs: tuple[Value, ...],
    source: DataSource,
    metric: Metric,
    labels: str,
    form: ArrayForm,
    limit: int | None = None,
) -> EvaluationData:
    """The samples and labels of an `.npz` or of arrays; the first `limit` of them.

    Raises:
        Refused: an input is missing or has another form, labels are missing, do not fit in number
            or kind; with everything that is wrong.
    """
    arrays = dict(source) if isinstance(source, Mapping) else read_inputs([str(Path(source))])
    known = arrays.pop(labels, None)
    if limit is not None:
        arrays = {name: array[:limit] if array.ndim else array for name, array in arrays.items()}
        known = None if known is None or not known.ndim else known[:limit]
    given, per_label = formed(arrays, form)
    problems: list[Diagnostic] = []
    samples: CalibrationData | None = None
    try:
        samples = calibration_data(Graph("inputs", inputs, (), (), ()), given)
    except Refused as error:
        problems += [_renamed(one) for one in error.diagnostics]
    expected = None if samples is None else samples.num_samples // per_label
    problems += _label_problems(known, metric, labels, expected)
    if samples is None or problems:
        raise Refused(problems)
    return EvaluationData(samples, known, per_label)


def formed(arrays: Mapping[str, Array], form: ArrayForm) -> tuple[dict[str, Array], int]:
    """The arrays in the form told, and how many samples each row of them has become."""
    found = {name: _as_floats(np.asarray(array), form) for name, array in arrays.items()}
    if not form.windows:
        return found, 1
    lengths = {array.shape[1] for array in found.values() if array.ndim == 3}
    if len(lengths) != 1 or min(lengths) < form.windows:
        raise Refused(
            [_problem(f"there is no array [n, steps, features] to cut {form.windows} steps out of")]
        )
    (steps,) = lengths
    cut = {name: _windows(array, form.windows) for name, array in found.items() if array.ndim == 3}
    return cut, steps - form.windows + 1


def _as_floats(array: Array, form: ArrayForm) -> Array:
    if not form.divide_by or array.dtype == np.float32 or array.dtype.kind not in "iuf":
        return array
    return np.asarray(array.astype(np.float32) / np.float32(form.divide_by))


def _windows(array: Array, length: int) -> Array:
    """[n, steps, features] to [n * windows, length * features], in order of time."""
    seen = np.lib.stride_tricks.sliding_window_view(array, length, axis=1)
    return np.ascontiguousarray(np.moveaxis(seen, -1, 2)).reshape(-1, length * array.shape[2])


def _problem(message: str, hint: str = "") -> Diagnostic:
    return Diagnostic(Code.BAD_INPUT_DATA, f"evaluation data: {message}", hint=hint)


def _renamed(one: Diagnostic) -> Diagnostic:
    message = one.message.removeprefix("calibration data: ")
    return _problem(message, one.hint.replace("calibration.npz", "data.npz"))


def _label_problems(
    known: Array | None, metric: Metric, name: str, expected: int | None
) -> Iterator[Diagnostic]:
    if known is None:
        yield _problem(
            f"labels {name!r} are missing, and {metric.value} needs them",
            "name the array with --labels NAME",
        )
        return
    if expected is not None and known.shape[:1] != (expected,):
        form = f"{known.dtype}[{', '.join(map(str, known.shape))}]"
        yield _problem(f"labels {name!r} are {form} for {expected} samples")
    if metric is Metric.MSE:
        if known.dtype.kind not in "iuf" or not np.all(np.isfinite(known)):
            yield _problem(f"labels {name!r} are no finite numbers")
        return
    if known.ndim != 1 or known.dtype.kind not in "iub":
        yield _problem(f"labels {name!r} are no list of whole numbers, which {metric.value} needs")
    elif known.size and int(known.min()) < 0:
        yield _problem(f"labels {name!r} hold the negative class {known.min()}")
    elif metric.ranks and set(np.unique(known).tolist()) != set(range(_MAX_EXACT_CLASSES)):
        yield _problem(f"labels {name!r} are not 0 and 1, both of them, which {metric.value} needs")
