"""Values by whose error a quantized model is judged: its outputs, but not what saturates there.

Most probabilities are nearly 0 or 1 however wrong what they are made of is, so that a few samples,
or none, would decide: what a final softmax reads says more.
"""

from dataclasses import dataclass

from lepton_cc.calibration.statistics import near_largest
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.final_softmax import final_logits


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
    return tuple(
        Judged(output) if found is None else Judged(found.value, found.axis)
        for output, found in zip(graph.outputs, final_logits(graph), strict=True)
    )


def logits(graph: Graph) -> tuple[Judged, ...]:
    """What softmaxes read that give outputs."""
    return tuple(Judged(found.value, found.axis) for found in final_logits(graph) if found)
