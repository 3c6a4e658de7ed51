"""Random graphs of integer ops: every pass of every level keeps each bit, and so does the text."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.printer import printed
from lepton_cc.ir.verifier import Stage, verify
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.ir.random_quantized_graphs import quantized_graphs, random_bytes

_SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@_SETTINGS
@given(quantized_graphs())
def test_graphs_are_valid(graph: Graph) -> None:
    verify(graph, Stage.IMPORTED)


@pytest.mark.parametrize("level", [OptLevel.O0, OptLevel.O1, OptLevel.O3])
@_SETTINGS
@given(graph=quantized_graphs())
def test_passes_keep_every_bit(level: OptLevel, graph: Graph) -> None:
    inputs = random_bytes(graph)
    expected = interpret(graph, inputs)
    after = PassManager(LEVELS[level].pipeline(load_target(HOST))).run(graph)
    for name, array in interpret(after, inputs).items():
        np.testing.assert_array_equal(array, expected[name])


@_SETTINGS
@given(quantized_graphs())
def test_text_round_trips(graph: Graph) -> None:
    result = printed(graph)
    arrays = {digest: tensor.array for digest, tensor in result.constants.items()}
    assert parse_graph(result.text, arrays) == graph
