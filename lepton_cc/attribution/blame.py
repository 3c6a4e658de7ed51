"""The Python API of `lepton blame`: layers by what quantizing them costs, with causes and cures."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from lepton_cc.attribution.advice import Advice, Suspect, advise
from lepton_cc.attribution.causes import Cause, LayerNoise, layer_noises
from lepton_cc.attribution.cure import Cure, Proposer, layer_names
from lepton_cc.attribution.measurement import Measurement
from lepton_cc.attribution.swap import Swapper, swapper
from lepton_cc.attribution.trial import Trial, tried
from lepton_cc.calibration.data import CalibrationSource, calibration_data, made_up_data
from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.calibration.quantize import quantize as quantize_model
from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.evaluation.data import ArrayForm, DataSource, EvaluationData, evaluation_data, formed
from lepton_cc.evaluation.metric import Metric
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.sample_inputs import read_inputs

Model = str | os.PathLike[str]
_NUM_SAMPLES = 32
# No choice of scales takes much off a layer that is only rounded; one with a fault comes first
# even where what follows (a saturated softmax) hides 18 dB of it.
_ROUNDED = 1 / 64
_WIDE_BITS = 8


@dataclass(frozen=True, slots=True)
class LayerBlame:
    """A layer, and what its integers alone do to the outputs.

    alone_decibels: SQNR of the outputs with this layer quantized and no other; without_decibels:
    with all but this one. share: of the sum of all layers' noise powers. The scores belong to the
    same two models.
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
    advice: Advice = field(default_factory=Advice)

    @property
    def culpability(self) -> float:
        """The noise share, 1/64 of it if nothing is wrong but that integers are rounded."""
        return self.share * (_ROUNDED if self.cause is Cause.ROUNDING else 1.0)


@dataclass(frozen=True, slots=True)
class Blame:
    """All layers, the one to mend first (`culpability`) first.

    `all_decibels`: SQNR with all of them quantized. `trials`: the cures that were tried, each on
    the whole model, in the order of the layers; `advised`: what `lepton compress` is best told,
    and what that gives; None if nothing tried was worth it.
    """

    num_samples: int
    all_decibels: float
    metric: Metric | None
    float_score: float | None
    all_score: float | None
    layers: tuple[LayerBlame, ...]
    trials: tuple[Trial, ...] = ()
    advised: Trial | None = None


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
    try_cures: bool = True,
) -> Blame:
    """Which layers of a quantized model lose its accuracy, why, and what mends it.

    `model` is float; its quantized form is made here (`quantize`), or is the QDQ or QLinear model
    `against`. SQNR is measured on the first `samples` of `calibrate` (or, without it, of `data`;
    made up without both); scores on all of `data`. With `calibrate`, cures of the worst layers are
    tried: the model is quantized again with each.

    Raises:
        Refused: a model or the data are refused, or the models do not belong together.
        UsageError: a name does not exist, or it is not said which quantized model is meant.
    """
    if (against is None) == (quantize in (None, "none")):
        raise UsageError("give either a scheme such as quantize=w8a8, or against a quantized model")
    form = ArrayForm() if form is None else form
    source = _formed(calibrate, form)
    imported = import_model(model, dims=dims)
    how = _metric(metric)
    evaluation = None
    if data is not None:
        evaluation = evaluation_data(imported.inputs, data, how, labels, form)
    scheme = quantize if against is None else WeightScheme.W8A8.value
    options = quantization_options(scheme, source, calibration_method, load_target(HOST))
    assert options is not None
    if against is None:
        found = quantize_model(imported, options)
        assert found is not None
        swapping = swapper(found.graph, found.prepared)
        names = layer_names(found.prepared)
    else:
        swapping, names = _given(imported, import_model(against, dims=dims)), {}
    given = _samples(imported, source, evaluation, samples)
    noises = layer_noises(swapping, given)
    if against is not None:
        options = replace(options, scheme=_given_scheme(swapping, noises))
    measurement = Measurement(swapping.variant(()), given, evaluation, how)
    before = measurement.of(swapping.variant(range(len(swapping.layers))))
    proposer = Proposer(options, names, is_given=against is not None)
    layers = _layers(swapping, noises, measurement, proposer)

    def attempt(cures: Iterable[Cure]) -> Mapping[Cure, Trial]:
        return tried(imported, options, cures, measurement)

    # What is quantized and judged by random numbers says nothing about a cure.
    has_trials = try_cures and source is not None
    suspects = [suspect for _, suspect in layers]
    advised = advise(suspects, before, options, attempt if has_trials else None)
    return Blame(
        len(given),
        before.decibels,
        None if evaluation is None else how,
        measurement.float_score,
        before.score,
        tuple(
            replace(layer, advice=advice)
            for (layer, _), advice in zip(layers, advised.advices, strict=True)
        ),
        advised.trials,
        advised.best,
    )


def _layers(
    swapping: Swapper, noises: Sequence[LayerNoise], measurement: Measurement, proposer: Proposer
) -> list[tuple[LayerBlame, Suspect]]:
    """All layers and what may mend them, the one to mend first first."""
    numbers = range(len(swapping.layers))
    alone = [measurement.of(swapping.variant([number])) for number in numbers]
    without = [
        measurement.of(swapping.variant([n for n in numbers if n != number])) for number in numbers
    ]
    total = sum(quality.noise for quality in alone) or 1.0
    found = []
    for layer, noise, one, others in zip(swapping.layers, noises, alone, without, strict=True):
        blamed = LayerBlame(
            layer.name,
            layer.operation,
            layer.nodes,
            one.decibels,
            others.decibels,
            one.noise / total,
            one.score,
            others.score,
            noise,
            noise.cause,
        )
        cures = proposer.cures(layer, noise, swapping.graph)
        found.append((blamed, Suspect(noise, blamed.share, cures)))
    return sorted(found, key=lambda pair: -pair[0].culpability)


def _given_scheme(swapping: Swapper, noises: Sequence[LayerNoise]) -> WeightScheme:
    """The widths that most layers of a model have which was quantized elsewhere."""
    narrow = [noise.has_narrow_weights for noise in noises if noise.weights_bits]
    wide = [
        pair.quantize.kind.dtype.bits > _WIDE_BITS
        for layer in swapping.layers
        for pair in layer.pairs
        if isinstance(pair.quantize.kind, Quantize)
    ]
    has_narrow, has_wide = (2 * sum(found) > len(found) for found in (narrow, wide))
    if has_narrow:
        return WeightScheme.W4A16 if has_wide else WeightScheme.W4A8
    return WeightScheme.W8A16 if has_wide else WeightScheme.W8A8


def _metric(name: str) -> Metric:
    try:
        return Metric(name)
    except ValueError:
        known = ", ".join(one.value for one in Metric)
        raise UsageError(f"metric {name!r} is none of {known}") from None


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
