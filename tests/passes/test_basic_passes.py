"""Laws of the basic passes: they keep every bit of the results, and applying one twice is once."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.canonicalize import Canonicalize
from lepton_cc.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from lepton_cc.passes.eliminate_dead_code import EliminateDeadCode
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.manager import Pass, PassManager, Repeat
from tests.ir.random_graphs import graphs, random_inputs

PASSES = (
    FoldConstants(),
    Canonicalize(),
    Canonicalize(reshape_transposes=False),
    EliminateCommonSubexpressions(),
    EliminateDeadCode(),
)


def assert_same_bits(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Equal types and bits; NaN equals NaN, whatever its payload."""
    assert list(actual) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)
        if array.dtype.kind == "f":
            known = ~np.isnan(array)
            np.testing.assert_array_equal(
                np.signbit(actual[name])[known], np.signbit(array)[known], f"zeros of {name}"
            )


@pytest.mark.parametrize("tested", PASSES, ids=lambda p: f"{p.NAME}")
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(graph=graphs(), seed=st.integers(0, 100))
def test_a_pass_keeps_the_results_and_is_idempotent(tested: Pass, graph: Graph, seed: int) -> None:
    manager = PassManager([tested])
    after = manager.run(graph)
    inputs = random_inputs(graph, seed)
    assert_same_bits(interpret(after, inputs), interpret(graph, inputs))
    assert manager.run(after) == after


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(graph=graphs(max_ops=20))
def test_the_passes_together_keep_the_results_and_settle(graph: Graph) -> None:
    manager = PassManager([Repeat(PASSES, limit=20)])
    after = manager.run(graph)
    inputs = random_inputs(graph)
    assert_same_bits(interpret(after, inputs), interpret(graph, inputs))
    rounds = len(manager.records) // len(PASSES)
    assert rounds < 20
