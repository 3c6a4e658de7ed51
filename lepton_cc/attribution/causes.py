"""Why a layer loses accuracy: its own noise by origin, measured on the float model's values.

Noise is power relative to that of the layer's result: rounding and cutting off the result, what
integer weights change in it, and an integer bias.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lepton_cc.attribution.layers import Pair, QuantizedLayer, known_arrays
from lepton_cc.attribution.swap import Swapper
from lepton_cc.attribution.variant_run import runner
from lepton_cc.calibration.statistics import near_largest, softmax_axes
from lepton_cc.ir.dtype import integer_bounds
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.tensor import Array

# A range is badly used below this part of it; a step three times too large costs 10 dB.
_USED = 1 / 3
# Channels (or single values) this much larger than most take the integers of the others.
_OUTLIER = 8.0
_OUTLIER_KURTOSIS = 100.0
# A sum this much smaller than its operands keeps their steps.
_CANCELLED = 1 / 4
_NARROW_BITS = 4


class Cause(enum.Enum):
    """What most of a layer's noise comes from."""

    RANGE_OUTLIER = "range outlier"
    UNUSED_RANGE = "unused range"
    SATURATION = "saturation"
    BIAS_SHIFT = "bias shift"
    CANCELLATION = "cancellation"
    ROUNDING = "rounding"


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """Figures of one layer; powers are relative to the power of its result.

    rounding, clipping: by the pair behind it. weights: by integer weights; bias: what
    its bias does. clipped_share of the elements; used_range: part of the integers that values
    reach; channel_ratio: the largest channel over the median one; kurtosis of the values; the same
    of weights. cancellation: the result's RMS over that of its largest operand, of sums.
    """

    rounding: float = 0.0
    clipping: float = 0.0
    weights: float = 0.0
    bias: float = 0.0
    clipped_share: float = 0.0
    used_range: float = 1.0
    channel_ratio: float = 1.0
    kurtosis: float = 3.0
    weights_clipped_share: float = 0.0
    weights_used_range: float = 1.0
    weights_channel_ratio: float = 1.0
    weights_bits: int = 0
    cancellation: float = 1.0

    @property
    def has_narrow_weights(self) -> bool:
        """True of integer weights of at most 4 bits."""
        return 0 < self.weights_bits <= _NARROW_BITS

    @property
    def in_weights(self) -> bool:
        """True if the weights make most of it."""
        return self.weights > max(self.rounding, self.clipping, self.bias)

    @property
    def cause(self) -> Cause:
        """The largest part, by what is remarkable about it."""
        largest = max(self.rounding, self.clipping, self.weights, self.bias)
        if largest == self.bias and largest > 0:
            return Cause.BIAS_SHIFT
        if self.in_weights:
            return _cause(
                self.weights_clipped_share > 0,
                self.weights_used_range,
                self.weights_channel_ratio > _OUTLIER,
            )
        if self.clipping == largest and largest > 0:
            return Cause.SATURATION
        if self.cancellation < _CANCELLED:
            return Cause.CANCELLATION
        outlier = self.channel_ratio > _OUTLIER or self.kurtosis > _OUTLIER_KURTOSIS
        return _cause(False, self.used_range, outlier)


def _cause(is_clipped: bool, used: float, has_outlier: bool) -> Cause:
    if is_clipped:
        return Cause.SATURATION
    if used < _USED:
        return Cause.UNUSED_RANGE
    return Cause.RANGE_OUTLIER if has_outlier else Cause.ROUNDING


@dataclass
class _Moments:
    """Sums over all samples of what a layer computes."""

    num_values: int = 0
    power: float = 0.0
    fourth: float = 0.0
    rounding: float = 0.0
    clipping: float = 0.0
    num_clipped: int = 0
    low: float = 0.0
    high: float = 0.0
    channels: Array | None = None
    num_rows: int = 0
    result_power: float = 0.0
    changed: float = 0.0
    shift: Array | None = None
    operand_power: float = 0.0
    sum_power: float = 0.0
    pairs: list[Pair] = field(default_factory=list)


def layer_noises(
    swapper: Swapper, samples: Sequence[Mapping[str, Array]]
) -> tuple[LayerNoise, ...]:
    """The noise of each layer by itself, every layer reading what the float model computes."""
    graph, shadows = swapper.shadowed()
    known = known_arrays(swapper.graph)
    bypassed = {
        dequantize.result: pair.quantize.inputs[0]
        for layer in swapper.layers
        for pair in layer.pairs
        for dequantize in pair.dequantizes
    }

    def now(value: Value) -> Value:
        while value in bypassed:
            value = bypassed[value]
        return value

    wanted = list(shadows.values())
    for layer in swapper.layers:
        wanted += [now(pair.quantize.inputs[0]) for pair in layer.pairs]
        if layer.anchor is not None:
            wanted += [now(layer.anchor.results[0])]
            if _is_sum(layer):
                wanted += [now(v) for v in layer.anchor.inputs if v not in known]
    there = {value for op in graph.ops for value in op.results} | set(graph.inputs)
    run = runner(graph, [value for value in dict.fromkeys(wanted) if value in there], len(samples))
    # What softmax does not look at is cut off on purpose, which is no fault.
    axes = softmax_axes(graph)
    tallies = [_Moments() for _ in swapper.layers]
    for sample in samples:
        values = run(sample)
        for number, (layer, tally) in enumerate(zip(swapper.layers, tallies, strict=True)):
            for pair in layer.pairs:
                name = now(pair.quantize.inputs[0]).name
                _observe_pair(tally, near_largest(values[name], axes.get(name)), pair, known)
            if layer.anchor is None:
                continue
            result = values.get(now(layer.anchor.results[0]).name)
            if number in shadows and result is not None:
                _observe_shadow(tally, result, values[shadows[number].name])
            if _is_sum(layer) and result is not None:
                operands = [now(v).name for v in layer.anchor.inputs if v not in known]
                tally.sum_power += _power(result)
                tally.operand_power += max(_power(values[name]) for name in operands)
    return tuple(
        _noise(tally, layer, swapper) for tally, layer in zip(tallies, swapper.layers, strict=True)
    )


def _is_sum(layer: QuantizedLayer) -> bool:
    kind = None if layer.anchor is None else layer.anchor.kind
    return isinstance(kind, Binary) and kind.function in (BinaryFunction.ADD, BinaryFunction.SUB)


def _power(array: Array) -> float:
    wide = array.astype(np.float64)
    return float(np.mean(wide * wide)) if wide.size else 0.0


def _observe_pair(tally: _Moments, x: Array, pair: Pair, known: Mapping[Value, Array]) -> None:
    kind, parameters = pair.quantize.kind, [known[v] for v in pair.quantize.inputs[1:]]
    assert isinstance(kind, Quantize)
    wide, scale = x.astype(np.float64), parameters[0].astype(np.float64)
    zero = parameters[1].astype(np.float64) if len(parameters) > 1 else np.zeros(())
    low, high = integer_bounds(kind.dtype)
    steps = np.rint(wide / scale) + zero
    clipped = (steps < low) | (steps > high)
    error = ((np.clip(steps, low, high) - zero) * scale - wide) ** 2
    tally.num_values += wide.size
    tally.power += float(np.sum(wide * wide))
    tally.fourth += float(np.sum(wide**4))
    tally.rounding += float(np.sum(error[~clipped]))
    tally.clipping += float(np.sum(error[clipped]))
    tally.num_clipped += int(np.count_nonzero(clipped))
    # Of scales that vary along an axis: in steps.
    tally.low = min(tally.low, float((wide / scale).min(initial=0)))
    tally.high = max(tally.high, float((wide / scale).max(initial=0)))
    largest = np.abs(wide).reshape(-1, wide.shape[-1] if wide.ndim else 1).max(axis=0, initial=0)
    before = tally.channels
    known_form = before is not None and before.shape == largest.shape
    tally.channels = np.maximum(before, largest) if before is not None and known_form else largest
    tally.pairs = [pair]


def _observe_shadow(tally: _Moments, result: Array, shadow: Array) -> None:
    wide = result.astype(np.float64)
    change = shadow.astype(np.float64) - wide
    rows = change.reshape(-1, change.shape[-1] if change.ndim else 1)
    tally.num_rows += len(rows)
    tally.result_power += float(np.sum(wide * wide))
    tally.changed += float(np.sum(change * change))
    total = rows.sum(axis=0)
    tally.shift = total if tally.shift is None else tally.shift + total


def _noise(tally: _Moments, layer: QuantizedLayer, swapper: Swapper) -> LayerNoise:
    power = max(tally.power, np.finfo(np.float64).tiny)
    result_power = max(tally.result_power, np.finfo(np.float64).tiny)
    shift = 0.0
    if tally.shift is not None and tally.num_rows:
        shift = float(np.sum(tally.shift**2)) / tally.num_rows
    # What rounded weights shift is theirs; a bias may be there to make up for it.
    shift = min(shift, tally.num_rows * _bias_power(layer, swapper))
    reach = 1.0
    for pair in tally.pairs:
        kind = pair.quantize.kind
        assert isinstance(kind, Quantize)
        low, high = integer_bounds(kind.dtype)
        reach = (tally.high - tally.low) / (high - low)
    count = max(tally.num_values, 1)
    mean_square = tally.power / count
    weights = _weight_figures(layer, swapper)
    return LayerNoise(
        rounding=tally.rounding / power,
        clipping=tally.clipping / power,
        weights=max(0.0, tally.changed - shift) / result_power,
        bias=shift / result_power,
        clipped_share=tally.num_clipped / count,
        used_range=reach,
        channel_ratio=_ratio(tally.channels),
        kurtosis=tally.fourth / count / mean_square**2 if mean_square else 0.0,
        weights_clipped_share=weights[0],
        weights_used_range=weights[1],
        weights_channel_ratio=weights[2],
        weights_bits=weights[3],
        cancellation=float(np.sqrt(tally.sum_power / tally.operand_power))
        if tally.operand_power
        else 1.0,
    )


def _bias_power(layer: QuantizedLayer, swapper: Swapper) -> float:
    """Squares of the differences of the bias, summed over channels."""
    if layer.anchor is None or (layer.anchor.results[0], 2) not in swapper.floats:
        return 0.0
    key = (layer.anchor.results[0], 2)
    difference = swapper.integers[key].astype(np.float64) - swapper.floats[key]
    return float(np.sum(difference * difference))


def _ratio(channels: Array | None) -> float:
    """The largest of the channels' magnitudes over the median of those that are not zero."""
    if channels is None or not np.any(channels > 0):
        return 1.0
    return float(channels.max() / np.median(channels[channels > 0]))


def _weight_figures(layer: QuantizedLayer, swapper: Swapper) -> tuple[float, float, float, int]:
    """Clipped share, used range, channel ratio (of weights with one scale for all), bits."""
    if layer.anchor is None or (layer.anchor.results[0], 1) not in swapper.floats:
        return 0.0, 1.0, 1.0, 0
    key = (layer.anchor.results[0], 1)
    reals = swapper.floats[key].astype(np.float64)
    value = layer.anchor.operands[1]
    assert value is not None
    bits, scales = _weight_scales(swapper.graph, value)
    if not scales.size:
        return 0.0, 1.0, 1.0, bits
    highest = 2 ** (bits - 1) - 1
    columns = np.abs(reals).reshape(-1, reals.shape[-1]).max(axis=0, initial=0)
    if scales.size == columns.size:
        clipped = np.abs(reals) > (highest + 1.5) * scales
        used = float(np.max(columns / (scales * highest)))
        return float(np.mean(clipped)), used, 1.0, bits
    step = float(scales.max())
    clipped = np.abs(reals) > (highest + 1.5) * step
    return float(np.mean(clipped)), float(columns.max() / (step * highest)), _ratio(columns), bits


def _weight_scales(graph: Graph, value: Value) -> tuple[int, Array]:
    """Bits and scales of what a known operand was dequantized from; scales by column, or one."""
    producers, known = graph.producers(), known_arrays(graph)
    op = producers.get(value)
    while op is not None and not isinstance(op.kind, Dequantize):
        op = producers.get(op.inputs[0]) if op.inputs else None
    if op is None:
        return 0, np.zeros(0)
    scales = known[op.inputs[1]].astype(np.float64).reshape(-1)
    is_one = np.all(scales == scales[:1])
    return op.inputs[0].type.dtype.bits, scales[:1] if is_one else scales
