"""A whole network as one block: many samples at once, up to what its final softmax reads."""

from collections.abc import Mapping

import numpy as np

from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.final_softmax import before_softmax
from lepton_cc.passes.prune.contraction_weights import constant_arrays, prunable_layers
from lepton_cc.passes.reconstruct.block import Block


def whole_block(graph: Graph) -> Block:
    """A graph with one input and one output; see its `refusal` before it is run.

    It ends before a final softmax: what that reads is sharper than probabilities.
    """
    alive = before_softmax(graph)
    arrays = constant_arrays(alive)
    ops = tuple(op for op in alive.ops if not isinstance(op.kind, Constant))
    trained = tuple(
        value
        for layer in prunable_layers(alive)
        for value in layer.op.inputs[1:]
        if value in arrays
    )
    return Block(alive.inputs[0], alive.outputs[0], ops, arrays, trained)


def refusal_of_whole(graph: Graph) -> str:
    """Why a graph cannot be taken as one block; empty if it can."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return "it has several inputs or outputs"
    if graph.inputs[0].type.dtype.numpy != np.float32:
        return "its input is not f32"
    return whole_block(graph).refusal


def outputs_of(
    block: Block, constants: Mapping[Value, Array], samples: Array, batch: int = 32
) -> Array:
    """The outputs of samples [N, ...] with some constants changed, [N, ...]."""
    return np.concatenate(
        [
            block.forward(samples[first : first + batch], constants)[block.exit]
            for first in range(0, len(samples), batch)
        ]
    )
