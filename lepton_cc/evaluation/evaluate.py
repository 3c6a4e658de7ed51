"""The Python API of `lepton eval`: models side by side on the same data."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lepton_cc.calibration.data import CalibrationSource
from lepton_cc.codegen.targets.loader import HOST
from lepton_cc.evaluation.candidate import (
    Candidate,
    Costs,
    Settings,
    compiled_candidate,
    saved_candidate,
)
from lepton_cc.evaluation.data import (
    ArrayForm,
    DataSource,
    EvaluationData,
    evaluation_data,
    formed,
)
from lepton_cc.evaluation.metric import Metric, record, score
from lepton_cc.evaluation.robustness import Perturbation, Spread, attacked, spread, with_noise
from lepton_cc.frontend.model_source import source_graph
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, UsageError, refuse
from lepton_cc.ir.graph import Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.insert_quantization import refuse_quantized
from lepton_cc.sample_inputs import read_inputs
from lepton_cc.verify.post_training import decibels

Models = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One model: its score, how near its outputs are to the first model's, costs, robustness.

    `sqnr_decibels`: None of the first model itself, and where outputs have other shapes. `noisy`
    and `attacked` are scores on `num_perturbed` labels, beside `unperturbed` on the same; None:
    not tried. `elsewhere`: what it costs on further targets.
    """

    name: str
    score: float
    sqnr_decibels: float | None
    costs: Costs
    num_perturbed: int = 0
    unperturbed: float | None = None
    noisy: float | None = None
    attacked: float | None = None
    elsewhere: tuple[Costs, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All models on the same samples; the first is the original that others are compared with."""

    metric: Metric
    num_samples: int
    num_labels: int
    perturbation: Perturbation
    rows: tuple[Row, ...]

    def below(self, limit: float) -> tuple[Diagnostic, ...]:
        """What to refuse if every model has to reach a score (`mse`: to stay within it)."""
        word = "below" if self.metric.is_better_large else "above"
        return tuple(
            Diagnostic(
                Code.CHECK_FAILED,
                f"{row.name}: {self.metric.value} is {self.metric.text(row.score)}, {word} the "
                f"limit of {self.metric.text(limit)}, on {self.num_labels} labels",
                hint="find the layers with `lepton blame`",
            )
            for row in self.rows
            if not (row.score >= limit if self.metric.is_better_large else row.score <= limit)
        )


def evaluate(  # noqa: PLR0913  # options of the command line, by keyword
    models: Models,
    data: DataSource,
    *,
    metric: str = "top1",
    labels: str = "y",
    target: str | Sequence[str] = HOST,
    dims: Mapping[str, int] | None = None,
    quantize: str | None = None,
    calibrate: CalibrationSource | None = None,
    calibration_method: str | None = None,
    form: ArrayForm | None = None,
    samples: int | None = None,
    perturbation: Perturbation | None = None,
    instructions: bool = False,
    cycles: bool = False,
) -> Evaluation:
    """Evaluates ONNX models and folders of builds on labelled data, by generated code.

    `quantize` adds the integer form of each ONNX model that is float. `samples`: only the first so
    many rows of the data. `perturbation` None: robustness is not tried. Memories and energy are of
    code for `target`, or for each of several; times are of this machine.

    Raises:
        Refused: a model or the data are refused; with every reason.
        UsageError: a name does not exist, or there is no model.
    """
    try:
        how = Metric(metric)
    except ValueError:
        known = ", ".join(one.value for one in Metric)
        raise UsageError(f"metric {metric!r} is none of {known}") from None
    paths = [Path(models)] if isinstance(models, str | os.PathLike) else [Path(m) for m in models]
    if not paths:
        raise UsageError("there is no model to evaluate")
    form = ArrayForm() if form is None else form
    targets = (target,) if isinstance(target, str) else tuple(dict.fromkeys(target))
    if not targets:
        raise UsageError("there is no target to evaluate for")
    plain = Settings(targets, dims, instructions=instructions, cycles=cycles)
    source = _calibration(calibrate, form)
    if source is not None and not quantize:
        raise UsageError("calibration needs a scheme, such as quantize=w8a8")
    settings = [plain]
    if quantize not in (None, "none"):
        compressed = Settings(
            targets, dims, quantize or "", source, calibration_method, instructions, cycles
        )
        settings.append(compressed)
    _check_same_inputs(paths, dims)
    inputs = _inputs(paths[0], dims)
    given = evaluation_data(inputs, data, how, labels, form, samples)
    candidates = _candidates(paths, settings, next(iter(given)))
    return _evaluated(candidates, given, how, perturbation)


def _calibration(source: CalibrationSource | None, form: ArrayForm) -> CalibrationSource | None:
    if source is None or not form.divide_by:
        return source
    arrays = dict(source) if isinstance(source, Mapping) else read_inputs([str(source)])
    return formed(arrays, ArrayForm(form.divide_by))[0]


def _inputs(path: Path, dims: Mapping[str, int] | None) -> tuple[Value, ...]:
    if path.is_dir():
        return saved_candidate(path).inputs
    return source_graph(path, dims=dims).inputs


def _candidates(
    paths: Sequence[Path], settings: Sequence[Settings], sample: dict[str, Array]
) -> list[Candidate]:
    found: list[tuple[Path, Candidate]] = []
    for path in paths:
        if path.is_dir():
            found.append((path, saved_candidate(path, sample)))
            continue
        found.append((path, compiled_candidate(path, settings[0], sample)))
        if len(settings) > 1 and _is_float(path, settings[0].dims):
            found.append((path, compiled_candidate(path, settings[1], sample)))
    return _told_apart(found)


def _told_apart(found: Sequence[tuple[Path, Candidate]]) -> list[Candidate]:
    """The candidates; those of one name are called by their folder, too."""
    names = [candidate.name for _, candidate in found]
    return [
        replace(one, name=f"{path.resolve().parent.name}/{one.name}")
        if names.count(one.name) > 1
        else one
        for path, one in found
    ]


def _is_float(path: Path, dims: Mapping[str, int] | None) -> bool:
    try:
        refuse_quantized(source_graph(path, dims=dims))
    except Refused:
        return False
    return True


def _check_same_inputs(paths: Sequence[Path], dims: Mapping[str, int] | None) -> None:
    first = set(_inputs(paths[0], dims))
    by_path = {path: _inputs(path, dims) for path in paths[1:]}
    problems = [
        Diagnostic(
            Code.BAD_INPUT_DATA,
            f"{path.stem} has other inputs than {paths[0].stem}: "
            f"{', '.join(f'{value.name} {value.type}' for value in inputs)}",
            hint="evaluate it alone, with data of its own",
        )
        for path, inputs in by_path.items()
        if set(inputs) != first
    ]
    if problems:
        raise Refused(problems)


@dataclass
class _Tally:
    """One model's records, and its noise against the first one's outputs."""

    records: list[float] = field(default_factory=list)
    signal: float = 0.0
    noise: float = 0.0
    is_comparable: bool = True

    def compare(self, reference: Array, output: Array) -> None:
        if reference.shape != output.shape:
            self.is_comparable = False
            return
        wide = reference.astype(np.float64)
        self.signal += float(np.sum(wide * wide))
        self.noise += float(np.sum((wide - output.astype(np.float64)) ** 2))


def _first_output(candidate: Candidate, sample: Mapping[str, Array]) -> Array:
    return next(iter(candidate.run(sample).values()))


def _evaluated(
    candidates: Sequence[Candidate],
    data: EvaluationData,
    metric: Metric,
    perturbation: Perturbation | None,
) -> Evaluation:
    tallies = [_Tally() for _ in candidates]
    labels, per_label = data.labels, data.samples_per_label
    assert labels is not None
    first_input = candidates[0].inputs[0].name
    for number, sample in enumerate(data):
        outputs = [_first_output(one, sample) for one in candidates]
        for tally, output in zip(tallies, outputs, strict=True):
            label = labels[number // per_label]
            tally.records.append(record(metric, sample[first_input], output, label))
            tally.compare(outputs[0], output)
    scores = [score(metric, tally.records, labels, per_label) for tally in tallies]
    sqnr = [
        decibels(tally.signal, tally.noise) if number and tally.is_comparable else None
        for number, tally in enumerate(tallies)
    ]
    rows = [
        Row(one.name, found, quality, one.costs, elsewhere=one.elsewhere)
        for one, found, quality in zip(candidates, scores, sqnr, strict=True)
    ]
    if perturbation is not None:
        rows = _with_robustness(rows, candidates, data, metric, perturbation)
    num_samples = data.samples.num_samples
    return Evaluation(metric, num_samples, len(labels), perturbation or Perturbation(), tuple(rows))


def _with_robustness(
    rows: Sequence[Row],
    candidates: Sequence[Candidate],
    data: EvaluationData,
    metric: Metric,
    by: Perturbation,
) -> list[Row]:
    """The rows with scores on perturbed inputs; labels are taken evenly from all of the data."""
    assert data.labels is not None
    chosen = np.unique(np.linspace(0, len(data.labels) - 1, by.num_labels).astype(np.int64))
    wanted = frozenset(chosen.tolist())
    samples = [s for n, s in enumerate(data) if n // data.samples_per_label in wanted]
    if not samples:
        raise refuse(Code.BAD_INPUT_DATA, "evaluation data: there is no sample")
    spreads = {name: spread([sample[name] for sample in samples]) for name in samples[0]}
    labels = data.labels[chosen]
    return [
        _perturbed(row, one, (samples, labels, data.samples_per_label), metric, spreads, by)
        for row, one in zip(rows, candidates, strict=True)
    ]


def _perturbed(
    row: Row,
    candidate: Candidate,
    data: tuple[list[dict[str, Array]], Array, int],
    metric: Metric,
    spreads: Mapping[str, Spread],
    by: Perturbation,
) -> Row:
    samples, labels, per_label = data
    # The same noise for every model.
    generator = np.random.default_rng(by.seed)
    name = candidate.inputs[0].name

    def scored(changed: list[dict[str, Array]]) -> float:
        records = [
            record(metric, s[name], _first_output(candidate, s), labels[number // per_label])
            for number, s in enumerate(changed)
        ]
        return score(metric, records, labels, per_label)

    noisy = scored([with_noise(sample, spreads, by, generator) for sample in samples])
    against: float | None = None
    if metric.classifies:

        def run(inputs: Mapping[str, Array]) -> Array:
            return _first_output(candidate, inputs)

        moved = [
            attacked(run, sample, int(label), spreads, by, generator)
            for sample, label in zip(samples, labels, strict=True)
        ]
        against = scored(moved)
    return replace(
        row,
        num_perturbed=len(labels),
        unperturbed=scored(samples),
        noisy=noisy,
        attacked=against,
    )
