"""Layout propagation: golden texts, equal results on random graphs, never more elements moved."""

import numpy as np
from hypothesis import HealthCheck, given, settings

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.verifier import verify
from lepton_cc.passes.permutation import moves_nothing
from lepton_cc.passes.propagate_layout import PropagateLayout
from tests.passes.layout_graphs import graphs_of_transposes


def moved_elements(graph: Graph) -> int:
    """Elements that the graph's transposes move for real."""
    return sum(
        op.result.type.num_elements
        for op in graph.ops
        if isinstance(op.kind, Transpose)
        and not moves_nothing(op.inputs[0].type.shape, op.kind.permutation)
    )


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,  # a sum in another order may move an argmax or a rounding
    suppress_health_check=list(HealthCheck),
)
@given(graphs_of_transposes())
def test_results_stay_and_moves_do_not_grow(case: tuple[Graph, dict[str, Array]]) -> None:
    graph, inputs = case
    after = PropagateLayout().run(graph, Statistics())
    verify(after)
    assert moved_elements(after) <= moved_elements(graph)
    expected, got = interpret(graph, inputs), interpret(after, inputs)
    assert expected.keys() == got.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(
            got[name].astype(np.float64), array.astype(np.float64), rtol=1e-4, atol=1e-4
        )
    assert after == PropagateLayout().run(graph, Statistics())
