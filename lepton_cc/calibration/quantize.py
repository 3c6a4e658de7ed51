"""Post-training quantization: a float graph and samples in, a quantized graph and a record out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lepton_cc.calibration.channel_sizes import channel_sizes
from lepton_cc.calibration.damping import chosen_damping
from lepton_cc.calibration.data import (
    MADE_UP_SEED,
    CalibrationData,
    CalibrationSource,
    calibration_data,
    made_up_data,
    watched,
)
from lepton_cc.calibration.layer_schemes import LayerScheme, named_layers
from lepton_cc.calibration.method import Method
from lepton_cc.calibration.mixed_widths import Sensitivity, WidthBudget, mixed_schemes
from lepton_cc.calibration.rounded_layers import (
    RoundedLayers,
    nearest_layers,
    reference_runs,
    round_layers,
    staged_run,
)
from lepton_cc.calibration.small_layers import small_layers
from lepton_cc.calibration.statistics import calibration_statistics
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.target import Target
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import Observer, PassManager, PassRecord
from lepton_cc.passes.quantize.equalize_channels import EqualizeChannels
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization, refuse_quantized
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.migrate_scales import MigrateScales
from lepton_cc.passes.quantize.output_scales import output_scales
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

DEFAULT_METHOD = Method.MSE


@dataclass(frozen=True, slots=True)
class QuantizationOptions:
    """How a float model is to be quantized; `source` None: by samples that are made up.

    `optional`: a model that is quantized already, or has nothing to quantize, stays as it is.
    `rounding` is how weights are rounded, `equalize` whether ranges of channels are first made
    equal between layers, `smooth` whether scales of channels move from norms and products into the
    weights that read them; `correct_bias` None: where weights have 4 bits. `layers` have schemes of
    their own; of the rest, those that cost most keep 8 bits within the budget `mixed`. `block`:
    only weights of matrix products become integers, so many rows with a scale, and activations
    stay floats; with the schemes whose activations have 16 bits.
    """

    scheme: WeightScheme = WeightScheme.W8A8
    source: CalibrationSource | None = None
    method: Method = DEFAULT_METHOD
    optional: bool = False
    rounding: Rounding = Rounding.PLAIN
    equalize: bool = False
    smooth: bool = False
    correct_bias: bool | None = None
    layers: tuple[LayerScheme, ...] = ()
    mixed: WidthBudget | None = None
    block: int = 0

    @property
    def corrects_bias(self) -> bool:
        """Whether biases take up the mean error of rounded weights.

        Means of 8-bit weights' errors are far below a step of the result: measured, no correction
        of them moves accuracy by more than its noise. Those of 4-bit weights are worth points.
        """
        if self.correct_bias is not None:
            return self.correct_bias
        schemes = (self.scheme, *(one.scheme for one in self.layers))
        return any(scheme.has_narrow_weights for scheme in schemes)


NO_QUANTIZATION = "none"


def quantization_options(
    scheme: str | None,
    source: CalibrationSource | None,
    method: str | None,
    target: Target,
) -> QuantizationOptions | None:
    """The options by their names on the command line; None if the model stays as it is.

    Without a scheme, float models become integers (w8a8) for targets with a tensor engine.

    Raises:
        UsageError: a name does not exist, or there are samples for a model that stays float.
    """
    optional = scheme is None and target.engine is not None
    if optional:
        scheme = WeightScheme.W8A8.value
    if scheme is None or scheme == NO_QUANTIZATION:
        if source is not None or method is not None:
            raise UsageError("calibration needs a scheme, such as quantize=w8a8")
        return None
    try:
        chosen = WeightScheme(scheme)
    except ValueError:
        known = ", ".join([NO_QUANTIZATION, *(one.value for one in WeightScheme)])
        raise UsageError(f"quantize={scheme!r} is none of {known}") from None
    try:
        how = DEFAULT_METHOD if method is None else Method(method)
    except ValueError:
        known = ", ".join(one.value for one in Method)
        raise UsageError(f"calibration method {method!r} is none of {known}") from None
    return QuantizationOptions(chosen, source, how, optional)


@dataclass(frozen=True, slots=True)
class QuantizationRecord:
    """What a quantization was made with: enough to repeat it.

    `data_sha256` is of the arrays that were used; empty, and `seed` set, if they were made up.
    `output_scales` are the steps of the outputs that have one, by ONNX name.
    """

    scheme: WeightScheme
    method: Method
    num_samples: int
    data_sha256: str
    seed: int | None
    num_activations: int
    num_weights: int
    output_scales: Mapping[str, float]

    @property
    def warning(self) -> str:
        """What the user must be told; empty if nothing."""
        if self.seed is None:
            return ""
        return (
            f"quantized with {self.num_samples} made-up samples (standard normal, seed "
            f"{self.seed}): ranges are guesses and accuracy may be lost; give real ones with "
            "--calibrate DATA.npz"
        )


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """The float graph as it was quantized, the graph with its quantization, and how.

    `rounding` says of each layer how its weights were rounded and what that did.
    """

    prepared: Graph
    graph: Graph
    record: QuantizationRecord
    passes: tuple[PassRecord, ...]
    rounding: RoundedLayers = field(default_factory=RoundedLayers)


def _states_integers(graph: Graph) -> bool:
    return any(isinstance(op.kind, Quantize | Dequantize) for op in graph.ops)


def continued(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    """Observers of a pipeline that goes on with another's graph, which they have seen."""

    def without_first(observer: Observer) -> Observer:
        return lambda record, graph: observer(record, graph) if record.number else None

    return tuple(without_first(observer) for observer in observers)


def quantize(
    imported: Graph,
    options: QuantizationOptions,
    observers: Sequence[Observer] = (),
    progress: Callable[[str], None] = lambda words: None,
) -> QuantizedModel | None:
    """Prepares a float graph, runs it on the samples, and puts in scales and integer weights.

    None: quantization was optional, and there is nothing to do. progress: is told how far it is.

    Raises:
        Refused: the model is quantized already or has nothing to quantize, or the data do not fit.
    """
    if options.optional and _states_integers(imported):
        return None
    refuse_quantized(imported)
    if options.source is None:
        data = made_up_data(imported)
    else:
        data = calibration_data(imported, options.source)
    return _quantized(imported, watched(data, progress), options, observers)


def quantize_prepared(
    prepared: Graph,
    data: CalibrationData,
    options: QuantizationOptions,
    observers: Sequence[Observer] = (),
) -> QuantizedModel | None:
    """Like `quantize`, of a graph that others have prepared, or changed, with data as they are.

    Raises:
        Refused: as `quantize`, but for the data.
    """
    refuse_quantized(prepared)
    return _quantized(prepared, data, options, observers)


def _quantized(
    imported: Graph,
    data: CalibrationData,
    options: QuantizationOptions,
    observers: Sequence[Observer],
) -> QuantizedModel | None:
    equalization: tuple[EqualizeChannels, ...] = (EqualizeChannels(),) if options.equalize else ()
    preparation = PassManager((*BEFORE_QUANTIZATION, *equalization), observers)
    prepared = preparation.run(imported)
    passes = preparation.records
    if options.smooth:
        sizes = channel_sizes(prepared, data)
        smoothing = PassManager(
            (MigrateScales(sizes, options.scheme, options.block),), continued(observers)
        )
        prepared = smoothing.run(prepared)
        passes = (*passes, *smoothing.records)
    points = quantization_points(prepared)
    if not points.measured and options.optional:
        return None
    if not points.measured:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "the model has no float operator that could compute with integers",
            hint=_hint_for_no_points(prepared),
        )
    if options.block and options.scheme.activations is not DType.I16:
        raise UsageError("blocks are for w4a16 and w8a16: activations stay floats")
    statistics = calibration_statistics(prepared, data.samples(), options.method)
    # Of language models, layers are alike, and blocks of rows have scales of their own.
    small = {} if options.block else small_layers(prepared, options.scheme)
    inserted = InsertQuantization(
        options.scheme,
        statistics.ranges,
        statistics.moments if options.corrects_bias else {},
        layers={**small, **named_layers(prepared, options.layers)},
        block=options.block,
    )
    inserted, rounding = _rounded(prepared, data, inserted, options)
    insertion = PassManager((inserted,), continued(observers))
    graph = insertion.run(prepared)
    counts: Mapping[str, int] = dict(insertion.records[-1].rewrites)
    record = QuantizationRecord(
        options.scheme,
        options.method,
        statistics.num_samples,
        data.sha256,
        MADE_UP_SEED if data.is_made_up else None,
        counts.get("quantize an activation", 0),
        counts.get("quantize weights", 0),
        output_scales(graph),
    )
    return QuantizedModel(prepared, graph, record, (*passes, *insertion.records), rounding)


def _rounded(
    prepared: Graph,
    data: CalibrationData,
    inserted: InsertQuantization,
    options: QuantizationOptions,
) -> tuple[InsertQuantization, RoundedLayers]:
    """The insertion with widths and weights of its layers decided."""
    found: tuple[Sensitivity, ...] = ()
    if options.mixed is not None:
        wide, found = mixed_schemes(prepared, data, inserted, options.rounding, options.mixed)
        inserted = replace(inserted, layers={**wide, **inserted.layers})
    rounding = nearest_layers(prepared, inserted)
    if options.rounding is not Rounding.PLAIN:
        corrects = options.corrects_bias
        reference = reference_runs(prepared, inserted)
        damping = chosen_damping(prepared, data, inserted, reference, correct_bias=corrects)
        rounding = round_layers(
            prepared,
            data,
            inserted,
            options.rounding,
            reference,
            staged_run(inserted),
            correct_bias=corrects,
            damping=damping,
        )
        inserted = replace(inserted, rounded=rounding.layers)
    measured = {one.name: one.error for one in found}
    records = tuple(replace(r, sensitivity=measured.get(r.name)) for r in rounding.records)
    return inserted, replace(rounding, records=records)


def _hint_for_no_points(graph: Graph) -> str:
    dtypes = {value.type.dtype for op in graph.ops for value in op.results}
    others = sorted(one.value for one in dtypes if one.is_float and one is not DType.F32)
    if others:
        return f"it computes with {', '.join(others)}, and only f32 is quantized: convert it to f32"
    return "compile it without --quantize, compress it with --quantize none"
