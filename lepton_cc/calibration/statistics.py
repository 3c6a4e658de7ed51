"""One pass of a float graph over the samples: ranges of values, moments of what is multiplied."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.calibration.float_run import inner_run
from lepton_cc.calibration.method import Method
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval
from lepton_cc.passes.quantize.channel_moments import ChannelMoments
from lepton_cc.passes.quantize.quantization_points import quantization_points

# exp(-16) is 1/35,000 of the 1/256 that a quantized softmax resolves: masks of -1e9 must not set
# the range of what it reads.
_SOFTMAX_REACH = 16.0


@dataclass(frozen=True, slots=True)
class CalibrationStatistics:
    """What the samples said, by names of values; both are options of `insert-quantization`."""

    ranges: Mapping[str, Interval]
    moments: Mapping[str, ChannelMoments]
    num_samples: int


class _MomentSums:
    """Sums over all positions of each channel, in binary64."""

    def __init__(self) -> None:
        self._count = 0
        self._total: Array | None = None
        self._squares: Array | None = None

    def observe(self, values: Array) -> None:
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
        total, squares = rows.sum(axis=0), (rows * rows).sum(axis=0)
        self._count += len(rows)
        self._total = total if self._total is None else self._total + total
        self._squares = squares if self._squares is None else self._squares + squares

    def moments(self) -> ChannelMoments | None:
        if self._total is None or self._squares is None or not self._count:
            return None
        return ChannelMoments(self._total / self._count, self._squares / self._count)


def calibration_statistics(
    graph: Graph, samples: Iterable[Mapping[str, Array]], method: Method
) -> CalibrationStatistics:
    """Runs a prepared float graph on every sample; memory does not grow with their number.

    What the graph reads and gives is the user's own: its ranges are those seen, and nothing of them
    is cut off, whatever the method.

    Of what softmax reads, elements count as at most 16 below the largest of their row.

    Raises:
        Refused: a value is NaN or infinite for some sample; all such values are named.
    """
    points = quantization_points(graph)
    interface = {*graph.inputs, *graph.outputs}
    observers = {
        value.name: (Method.MIN_MAX if value in interface else method).observer()
        for value in points.measured
    }
    sums = {op.inputs[0].name: _MomentSums() for op in points.contractions}
    read = [op.inputs[0] for op in points.contractions]
    run = inner_run(graph, (*points.measured, *read))
    axes = softmax_axes(graph)
    broken: dict[str, int] = {}
    num_samples = 0
    for number, sample in enumerate(samples):
        for name, array in run(sample).items():
            if not np.all(np.isfinite(array)):
                broken.setdefault(name, number)
                continue
            if name in observers:
                observers[name].observe(near_largest(array, axes.get(name)))
            if name in sums:
                sums[name].observe(array)
        num_samples += 1
    if broken:
        raise Refused(_not_finite(graph, broken))
    moments = {name: one.moments() for name, one in sums.items()}
    return CalibrationStatistics(
        {name: observer.interval() for name, observer in observers.items()},
        {name: one for name, one in moments.items() if one is not None},
        num_samples,
    )


def softmax_axes(graph: Graph) -> Mapping[str, int]:
    """The axis of values that nothing but softmax reads."""
    outputs = frozenset(graph.outputs)
    found: dict[str, int] = {}
    for value, readers in graph.uses().items():
        kinds = {reader.kind for reader in readers}
        kind = next(iter(kinds))
        if len(kinds) == 1 and isinstance(kind, Softmax) and value not in outputs:
            found[value.name] = kind.axis
    return found


def near_largest(array: Array, axis: int | None) -> Array:
    """What softmax along an axis reads, as far as it matters; None: all of it does."""
    if axis is None or not array.size:
        return array
    lowest = array.max(axis=axis, keepdims=True) - np.float32(_SOFTMAX_REACH)
    return np.asarray(np.maximum(array, lowest))


def _not_finite(graph: Graph, broken: Mapping[str, int]) -> list[Diagnostic]:
    """The first values in the graph's order; those after them are likely their consequence."""
    locations = {value.name: str(op.location) for op in graph.ops for value in op.results}
    return [
        Diagnostic(
            Code.BAD_CALIBRATION_DATA,
            f"%{name} is NaN or infinite for sample {number}",
            node=locations.get(name, ""),
            hint="leave the sample out, or scale the inputs as the model expects them",
        )
        for name, number in broken.items()
    ]
