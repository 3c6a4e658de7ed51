"""The Python API of `lepton blame`: layers by what quantizing them costs, with causes and cures."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lepton_cc.attribution.causes import Cause, LayerNoise, layer_noises
from lepton_cc.attribution.swap import Swapper, swapper
from lepton_cc.attribution.variant_run import runner
from lepton_cc.calibration.data import CalibrationSource, calibration_data, made_up_data
from lepton_cc.calibration.judged_values import Judged, logits
from lepton_cc.calibration.quantize import QuantizationOptions, quantization_options, quantize
from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.evaluation.data import ArrayForm, DataSource, EvaluationData, evaluation_data, formed
from lepton_cc.evaluation.metric import Metric, record, score
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.sample_inputs import read_inputs
from lepton_cc.verify.post_training import decibels

Model = str | os.PathLike[str]
Arrays = Mapping[str, Array]
_NUM_SAMPLES = 32
# No choice of scales takes much off a layer that is only rounded; one with a fault comes first
# even where what follows (a saturated softmax) hides 18 dB of it.
_ROUNDED = 1 / 64


@dataclass(frozen=True, slots=True)
class LayerBlame:
    """A layer, and what its integers alone do to the outputs.

    alone_decibels: SQNR of the outputs with this layer quantized and no other; without_decibels:
    with all but this one. share: of the sum of all layers' noise powers. The scores belong to the
    same two models. `cure` says what mends it, or that nothing does.
    """

    name: str
    operation: str
    nodes: tuple[str, ...]
    alone_decibels: float
    without_decibels: float
    share: float
    alone_score: float | None
    without_score: float | None
    noise: LayerNoise
    cause: Cause
    cure: str

    @property
    def culpability(self) -> float:
        """The noise share, 1/64 of it if nothing is wrong but that integers are rounded."""
        return self.share * (_ROUNDED if self.cause is Cause.ROUNDING else 1.0)


@dataclass(frozen=True, slots=True)
class Blame:
    """All layers, the one to mend first (`culpability`) first.

    `all_decibels`: SQNR with all of them quantized.
    """

    num_samples: int
    all_decibels: float
    metric: Metric | None
    float_score: float | None
    all_score: float | None
    layers: tuple[LayerBlame, ...]


def blame(  # noqa: PLR0913  # options of the command line, by keyword
    model: Model,
    *,
    against: Model | None = None,
    quantize: str | None = None,
    calibrate: CalibrationSource | None = None,
    calibration_method: str | None = None,
    data: DataSource | None = None,
    metric: str = "top1",
    labels: str = "y",
    dims: Mapping[str, int] | None = None,
    form: ArrayForm | None = None,
    samples: int = _NUM_SAMPLES,
) -> Blame:
    """Which layers of a quantized model lose its accuracy, and why.

    `model` is float; its quantized form is made here (`quantize`), or is the QDQ or QLinear model
    `against`. SQNR is measured on the first `samples` of `calibrate` (or, without it, of `data`;
    made up without both); scores on all of `data`.

    Raises:
        Refused: a model or the data are refused, or the models do not belong together.
        UsageError: a name does not exist, or it is not said which quantized model is meant.
    """
    if (against is None) == (quantize in (None, "none")):
        raise UsageError("give either a scheme such as quantize=w8a8, or against a quantized model")
    form = ArrayForm() if form is None else form
    source = _formed(calibrate, form)
    imported = import_model(model, dims=dims)
    evaluation = None
    if data is not None:
        try:
            how = Metric(metric)
        except ValueError:
            known = ", ".join(one.value for one in Metric)
            raise UsageError(f"metric {metric!r} is none of {known}") from None
        evaluation = evaluation_data(imported.inputs, data, how, labels, form)
    if against is None:
        options = quantization_options(quantize, source, calibration_method, load_target(HOST))
        assert options is not None
        swapping = _quantized_here(imported, options)
    else:
        swapping = _given(imported, import_model(against, dims=dims))
    given = _samples(imported, source, evaluation, samples)
    scheme = quantize if against is None else None
    return _Search(swapping, given, evaluation, Metric(metric), scheme).run()


def _formed(source: CalibrationSource | None, form: ArrayForm) -> CalibrationSource | None:
    if source is None or not form.divide_by:
        return source
    arrays = dict(source) if isinstance(source, Mapping) else read_inputs([str(Path(source))])
    return formed(arrays, ArrayForm(form.divide_by))[0]


def _samples(
    imported: Graph,
    source: CalibrationSource | None,
    evaluation: EvaluationData | None,
    limit: int,
) -> list[dict[str, Array]]:
    """At even distances: data are often sorted by class."""
    found: Iterable[dict[str, Array]]
    if evaluation is not None and source is None:
        found, count = evaluation, evaluation.samples.num_samples
    else:
        data = made_up_data(imported) if source is None else calibration_data(imported, source)
        found, count = data.samples(), data.num_samples
    return list(islice(found, 0, None, max(1, count // limit)))[:limit]


def _quantized_here(imported: Graph, options: QuantizationOptions) -> Swapper:
    found = quantize(imported, options)
    assert found is not None
    return swapper(found.graph, found.prepared)


def _given(imported: Graph, quantized: Graph) -> Swapper:
    prepare = PassManager(BEFORE_QUANTIZATION).run
    found = swapper(prepare(quantized), prepare(imported))
    if not found.layers:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "the model to compare with has no quantized layer",
            hint="give a QDQ or QLinear model, or --quantize to make one",
        )
    return found


class _Search:
    """Runs the variants; SQNR is relative to the model with all layers float."""

    def __init__(
        self,
        swapping: Swapper,
        samples: Sequence[Arrays],
        evaluation: EvaluationData | None,
        metric: Metric,
        scheme: str | None,
    ) -> None:
        self._swapping = swapping
        self._samples = samples
        self._evaluation = evaluation
        self._metric = metric
        self._scheme = scheme
        self._reference: list[list[Array]] = []

    def run(self) -> Blame:
        numbers = range(len(self._swapping.layers))
        float_score = self._reference_score()
        everything = self._measured(numbers)
        alone = [self._measured([number]) for number in numbers]
        without = [self._measured([n for n in numbers if n != number]) for number in numbers]
        noises = layer_noises(self._swapping, self._samples)
        total = sum(ratio for ratio, _ in alone) or 1.0
        found = []
        for layer, noise, one, others in zip(
            self._swapping.layers, noises, alone, without, strict=True
        ):
            found.append(
                LayerBlame(
                    layer.name,
                    layer.operation,
                    layer.nodes,
                    decibels(1.0, one[0]),
                    decibels(1.0, others[0]),
                    one[0] / total,
                    one[1],
                    others[1],
                    noise,
                    noise.cause,
                    cure(noise, self._scheme),
                )
            )
        return Blame(
            len(self._samples),
            decibels(1.0, everything[0]),
            None if self._evaluation is None else self._metric,
            float_score,
            everything[1],
            tuple(sorted(found, key=lambda one: -one.culpability)),
        )

    def _reference_score(self) -> float | None:
        run = self._runner(())
        self._reference = [run(sample) for sample in self._samples]
        return self._score(run)

    def _runner(self, quantized: Sequence[int]) -> Callable[[Arrays], list[Array]]:
        graph = self._swapping.variant(quantized)
        num_runs = len(self._samples)
        if self._evaluation is not None:
            num_runs += self._evaluation.samples.num_samples
        # A softmax that is certain hides what is wrong before it.
        wanted = [*map(Judged, graph.outputs), *logits(graph)]
        run = runner(graph, [one.value for one in wanted], num_runs)

        def outputs(sample: Arrays) -> list[Array]:
            values = run(sample)
            return [one.of(values[one.value.name]) for one in wanted]

        return outputs

    def _measured(self, quantized: Sequence[int]) -> tuple[float, float | None]:
        """Noise over signal, the mean of all outputs and logits, and the score."""
        run = self._runner(quantized)
        signal = np.zeros(len(self._reference[0]))
        noise = np.zeros_like(signal)
        for sample, reference in zip(self._samples, self._reference, strict=True):
            for number, (theirs, ours) in enumerate(zip(reference, run(sample), strict=True)):
                wide = theirs.astype(np.float64)
                signal[number] += float(np.sum(wide * wide))
                noise[number] += float(np.sum((ours.astype(np.float64) - wide) ** 2))
        ratios = noise / np.maximum(signal, np.finfo(np.float64).tiny)
        return float(ratios.mean()), self._score(run)

    def _score(self, run: Callable[[Arrays], list[Array]]) -> float | None:
        data = self._evaluation
        if data is None or data.labels is None:
            return None
        first, per_label = self._swapping.graph.inputs[0].name, data.samples_per_label
        records = [
            record(self._metric, sample[first], run(sample)[0], data.labels[number // per_label])
            for number, sample in enumerate(data)
        ]
        return score(self._metric, records, data.labels, per_label)


_WIDER = "lepton compress --layer-scheme NAME=w8a16 keeps one layer wider"


def cure(noise: LayerNoise, scheme: str | None) -> str:
    """The flags that mend a cause; `scheme` None: the model was quantized elsewhere."""
    again = "" if scheme else "quantize the float model here: --quantize w8a8 --calibrate DATA.npz"
    where = noise.in_weights
    match noise.cause:
        case Cause.SATURATION:
            return again or "--calibration-method minmax, with samples that show the whole range"
        case Cause.UNUSED_RANGE:
            return again or "--calibrate with samples that look like the device's"
        case Cause.RANGE_OUTLIER if where:
            return again or "--quantize w8a8 gives each output channel a scale of its own"
        case Cause.RANGE_OUTLIER:
            more = "--calibration-method percentile, or mse"
            return more if scheme else f"{again} {more}"
        case Cause.BIAS_SHIFT:
            return again or (
                "--quantize w8a8" if scheme == "w4a8" else f"none needed at 8 bits; {_WIDER}"
            )
        case Cause.CANCELLATION:
            return f"no flag: a sum of near opposites keeps its operands' steps; {_WIDER}"
        case Cause.ROUNDING:
            return "--quantize w8a8" if where and noise.weights_bits <= 4 else f"none; {_WIDER}"
