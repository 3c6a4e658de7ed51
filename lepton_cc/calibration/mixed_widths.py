"""Which layers keep 8-bit weights where the rest has 4: those that cost the most for their bytes.

Each layer alone is given 4 bits, and the error of the model's outputs measured (ESP-PPQ's
layer-wise analysis, by outputs). Errors of layers add up as independent noise does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import InnerRun, inner_run
from lepton_cc.calibration.rounded_layers import layers_alone
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import with_constants
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.weight_rounding import RoundedLayer, WeightScheme

# Every layer costs a compilation of the model; samples beyond these change little.
_MOST_SAMPLES = 64
# The noise of 8 bits by that of 4.
_WIDE_SHARE = 1 / 256
# Beyond the precision of binary32, in which outputs are compared.
_MOST_DECIBELS = 150.0


@dataclass(frozen=True, slots=True)
class WidthBudget:
    """How many bytes, or how much error, a model of mixed widths may have; one of them.

    share: of the bytes that its layers' weights take at 8 bits. decibels: the signal to noise ratio
    that its outputs are to keep, of rounding weights alone.
    """

    share: float | None = None
    decibels: float | None = None

    @staticmethod
    def parse(text: str) -> "WidthBudget":
        """From `60%` or `30dB`.

        Raises:
            UsageError: it is neither, or no share of the bytes, or no ratio that floats can have.
        """
        lowered = text.strip().lower()
        for unit in ("%", "db"):
            number = lowered.removesuffix(unit)
            if number != lowered:
                try:
                    value = float(number)
                except ValueError:
                    break
                if not 0 < value <= (100 if unit == "%" else _MOST_DECIBELS):
                    break
                return WidthBudget(value / 100) if unit == "%" else WidthBudget(None, value)
        raise UsageError(
            f"{text!r} is neither a size like 60% (above 0, at most 100) nor an error like 30dB"
        )


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a layer alone costs at 4 bits: squared error of the outputs by their square."""

    name: str
    num_weights: int
    error: float


def sensitivities(
    graph: Graph, data: CalibrationData, insertion: InsertQuantization, rounding: Rounding
) -> tuple[Sensitivity, ...]:
    """Of every contraction that the scheme gives 4-bit weights, measured in the float graph."""
    narrow = [
        op
        for op in quantization_points(graph).contractions
        if insertion.weights_dtype(op, op.inputs[1].type.num_elements).bits < 8
    ]
    rounded = layers_alone(graph, data, insertion, rounding, narrow)
    arrays = {op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)}
    kept = _kept_samples(data)
    expected = _outputs(inner_run(graph, graph.outputs), graph, kept)
    found = []
    for op in narrow:
        if op.result.name not in rounded:
            continue
        changed = with_constants(graph, _rounded_constants(op, rounded[op.result.name], arrays))
        outputs = _outputs(inner_run(changed, changed.outputs), changed, kept)
        error = _error(outputs, expected)
        found.append(Sensitivity(op.result.name, op.inputs[1].type.num_elements, error))
    return tuple(found)


def _kept_samples(data: CalibrationData) -> Sequence[Mapping[str, Array]]:
    every = -(-data.num_samples // _MOST_SAMPLES)
    return [sample for number, sample in enumerate(data.samples()) if number % every == 0]


def _rounded_constants(
    op: Op, rounded: RoundedLayer, arrays: Mapping[Value, Array]
) -> dict[Value, Array]:
    weights = rounded.weights.reals.astype(np.float32)
    changed = {op.inputs[1]: weights.reshape(op.inputs[1].type.dims)}
    if rounded.bias_shift is not None and len(op.inputs) > 2:
        bias = arrays[op.inputs[2]]
        changed[op.inputs[2]] = (bias + rounded.bias_shift.reshape(bias.shape)).astype(np.float32)
    return changed


def _outputs(run: InnerRun, graph: Graph, samples: Sequence[Mapping[str, Array]]) -> list[Array]:
    names = [value.name for value in graph.outputs]
    results = [run(sample) for sample in samples]
    return [np.stack([one[name] for one in results]).astype(np.float64) for name in names]


def _error(outputs: Sequence[Array], expected: Sequence[Array]) -> float:
    """The mean over outputs, each by its own square."""
    shares = [
        float(np.sum((got - want) ** 2) / max(float(np.sum(want**2)), 1e-30))
        for got, want in zip(outputs, expected, strict=True)
    ]
    return float(np.mean(shares)) if shares else 0.0


def wide_layers(
    found: Sequence[Sensitivity], num_other_bytes: int, budget: WidthBudget
) -> frozenset[str]:
    """The layers that get 8 bits, those first that lose most for each byte they would save.

    `num_other_bytes`: of layers whose weights have 8 bits in any case.
    """
    order = sorted(found, key=lambda one: (-one.error / max(one.num_weights, 1), one.name))
    total_bytes = num_other_bytes + sum(-(-one.num_weights // 2) for one in found)
    most_bytes = float("inf")
    if budget.share is not None:
        most_bytes = budget.share * (num_other_bytes + sum(one.num_weights for one in found))
    error, most_error = sum(one.error for one in found), 0.0
    if budget.decibels is not None:
        most_error = 10 ** (-budget.decibels / 10)
    wide = set()
    for one in order:
        more_bytes = one.num_weights // 2
        if error <= most_error or total_bytes + more_bytes > most_bytes:
            continue
        wide.add(one.name)
        total_bytes += more_bytes
        error -= one.error * (1 - _WIDE_SHARE)
    return frozenset(wide)


def mixed_schemes(
    graph: Graph,
    data: CalibrationData,
    insertion: InsertQuantization,
    rounding: Rounding,
    budget: WidthBudget,
) -> tuple[Mapping[str, WeightScheme], tuple[Sensitivity, ...]]:
    """Schemes of the layers that are to be wider than `insertion` has them, and what they cost.

    Raises:
        UsageError: no layer has 4-bit weights.
    """
    if not insertion.scheme.has_narrow_weights:
        raise UsageError("mixed widths begin with 4-bit weights: w4a8 or w4a16")
    found = sensitivities(graph, data, insertion, rounding)
    narrow = {one.name for one in found}
    others = sum(
        op.inputs[1].type.num_elements
        for op in quantization_points(graph).contractions
        if op.result.name not in narrow
    )
    wide = wide_layers(found, others, budget)
    return {name: insertion.scheme.with_wide_weights for name in sorted(wide)}, found
