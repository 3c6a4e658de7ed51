"""Runs variants of a graph: small ones in NumPy, since machine code takes longer to make."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lepton_cc.calibration.float_run import InnerRun, inner_run
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.tensor import Array

# Multiply-adds that NumPy has done before machine code is there: measured, 0.2 to 4 thousand
# million, least of depthwise convolutions.
_WORTH_COMPILING = 500_000_000


def runner(graph: Graph, values: Sequence[Value], num_runs: int) -> InnerRun:
    """A function from inputs by ONNX name to `values` by their names, for so many runs."""
    if num_macs(graph) * num_runs >= _WORTH_COMPILING:
        return inner_run(graph, values)
    names = tuple(value.name for value in values)
    probed = replace(graph, outputs=tuple(values), output_names=names)

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return interpret(probed, inputs)

    return run


def num_macs(graph: Graph) -> int:
    """Multiply-adds of the contractions: elements of the result times those of a filter."""
    return sum(
        op.result.type.num_elements * op.inputs[1].type.num_elements // op.result.type.dims[-1]
        for op in graph.ops
        if Trait.CONTRACTION in op.kind.traits and len(op.results) == 1 and op.result.type.dims
    )
