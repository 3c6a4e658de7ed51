"""The self-test of a payload: inputs of a fixed sequence and what the model makes of them."""

import numpy as np

from lepton_cc.codegen.npu.payload import test_section
from lepton_cc.ir.dtype import integer_bounds
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import evaluate_ops
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

_SEED = 1


def self_test_section(graph: Graph) -> bytes:
    """The TEST section of a model of integers: inputs, and the CRC of each output.

    The outputs are the interpreter's: the test holds whoever runs it to the numerics.
    """
    random = np.random.default_rng(_SEED)
    inputs = [_made_up(value.type, random) for value in graph.inputs]
    outputs = evaluate_ops(graph, dict(zip(graph.inputs, inputs, strict=True)))
    return test_section(
        [array.tobytes() for array in inputs], [array.tobytes() for array in outputs], ()
    )


def _made_up(type_: TensorType, random: np.random.Generator) -> Array:
    low, high = integer_bounds(type_.dtype)
    return random.integers(low, high + 1, type_.dims).astype(type_.dtype.numpy)
