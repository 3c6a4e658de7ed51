"""Values by whose error a quantized model is judged: its outputs, but not what saturates there.

Most probabilities are nearly 0 or 1 however wrong what they are made of is, so that a few samples,
or none, would decide: what a final softmax reads says more.
"""

from dataclasses import dataclass

from lepton_cc.calibration.statistics import near_largest
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class Judged:
    """A value whose error counts; `axis` of the softmax that alone is made of it, if one is."""

    value: Value
    axis: int | None = None

    def of(self, array: Array) -> Array:
        """The array without what softmax does not look at."""
        return near_largest(array, self.axis)


def judged(graph: Graph) -> tuple[Judged, ...]:
    """The outputs; what a final softmax reads instead of its result."""
    return tuple(_read_by_softmax(graph, value) or Judged(value) for value in graph.outputs)


def logits(graph: Graph) -> tuple[Judged, ...]:
    """What softmaxes read that give outputs."""
    found = (_read_by_softmax(graph, value) for value in graph.outputs)
    return tuple(one for one in found if one is not None)


def _read_by_softmax(graph: Graph, output: Value) -> Judged | None:
    producers = graph.producers()
    op = producers.get(output)
    while op is not None and isinstance(op.kind, Quantize | Dequantize):
        op = producers.get(op.inputs[0])
    if op is None or not isinstance(op.kind, Softmax):
        return None
    return Judged(op.inputs[0], op.kind.axis)
