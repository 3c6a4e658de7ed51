"""Any float graph can be quantized: it keeps its interface, is valid, and raising goes through."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.activation_parameters import Interval
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.prove_accumulators import ProveAccumulators
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from tests.ir.random_graphs import graphs, random_inputs

RAISE = (FoldConstants(), RaiseIntegers(), ProveAccumulators(), FoldConstants(fold_dequantize=True))


def _ranges(graph: Graph) -> dict[str, Interval]:
    """Of the values that are finite; the others stay float."""
    wanted = {value.name for value in quantization_points(graph).measured}
    found: dict[str, Interval] = {}

    def observe(value: Value, array: Array) -> None:
        if value.name in wanted and np.all(np.isfinite(array)):
            found[value.name] = Interval(float(array.min()), float(array.max()))

    inputs = random_inputs(graph)
    for value in graph.inputs:
        observe(value, inputs[value.name])
    interpret(graph, inputs, observe)
    return found


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.sampled_from(WeightScheme))
def test_any_graph_can_be_quantized(graph: Graph, scheme: WeightScheme) -> None:
    pass_ = InsertQuantization(scheme, _ranges(graph))
    try:
        stated = PassManager((pass_,)).run(graph)
    except Refused:
        # It has a Quantize of its own.
        assume(False)
    assert stated.inputs == graph.inputs
    assert [v.type for v in stated.outputs] == [v.type for v in graph.outputs]
    raised = PassManager(RAISE).run(stated)
    inputs = random_inputs(graph, seed=1)
    for name, array in interpret(raised, inputs).items():
        assert array.shape == interpret(stated, inputs)[name].shape
