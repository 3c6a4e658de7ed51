"""What final softmaxes read: it says more than probabilities, which saturate, where models compare.

Passes and trainers that measure an error at the outputs ask for it here.
"""

from dataclasses import dataclass

from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.rewrite import without_dead_ops


@dataclass(frozen=True, slots=True)
class Logits:
    """What a final softmax reads, and the axis along which it is taken."""

    value: Value
    axis: int


def final_logits(graph: Graph) -> tuple[Logits | None, ...]:
    """For each output what its softmax reads; None if no softmax makes it.

    A softmax may be quantized before it is given.
    """
    producers = graph.producers()
    found: list[Logits | None] = []
    for output in graph.outputs:
        op = producers.get(output)
        while op is not None and isinstance(op.kind, Quantize | Dequantize):
            op = producers.get(op.inputs[0])
        if op is not None and isinstance(op.kind, Softmax):
            found.append(Logits(op.inputs[0], op.kind.axis))
        else:
            found.append(None)
    return tuple(found)


def before_softmax(graph: Graph) -> Graph:
    """The graph that gives, under the same names, what final softmaxes read instead of theirs."""
    outputs = tuple(
        output if logits is None else logits.value
        for output, logits in zip(graph.outputs, final_logits(graph), strict=True)
    )
    cut = Graph(graph.name, graph.inputs, outputs, graph.output_names, graph.ops)
    return without_dead_ops(cut)
