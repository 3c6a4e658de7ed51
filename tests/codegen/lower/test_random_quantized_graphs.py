"""Random graphs of integer ops as machine code: the interpreter's bytes, on every level."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.executable import Executable
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.ir.random_quantized_graphs import quantized_graphs, random_bytes


@pytest.mark.parametrize("level", [OptLevel.O0, OptLevel.O3], ids=lambda level: f"O{level.value}")
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=quantized_graphs())
def test_code_gives_the_interpreters_bytes(level: OptLevel, graph: Graph) -> None:
    chosen, target = LEVELS[level], load_target(HOST)
    inputs = random_bytes(graph)
    expected = interpret(graph, inputs)
    after = PassManager(chosen.pipeline(target)).run(graph)
    program = assemble(after, "random", target, chosen.schedule)
    results = Executable(program, min(chosen.llvm_level, 1)).run(inputs)
    for name, array in results.items():
        np.testing.assert_array_equal(array, expected[name])
