"""Reshape sinking: same bits on random graphs of pointwise ops and reshapes."""

import numpy as np
from hypothesis import HealthCheck, given, settings

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.verifier import Stage, verify
from lepton_cc.passes.sink_reshapes import SinkReshapes
from tests.ir.random_graphs import graphs, random_inputs
from tests.passes.layout_graphs import graphs_of_transposes

_settings = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def check(graph: Graph, inputs: dict[str, Array]) -> None:
    after = SinkReshapes().run(graph, Statistics())
    verify(after, Stage.STATIC)
    expected, got = interpret(graph, inputs), interpret(after, inputs)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


@_settings
@given(graphs(max_ops=24))
def test_many_kinds(graph: Graph) -> None:
    check(graph, random_inputs(graph))


@_settings
@given(graphs_of_transposes())
def test_long_chains(case: tuple[Graph, dict[str, Array]]) -> None:
    check(*case)
