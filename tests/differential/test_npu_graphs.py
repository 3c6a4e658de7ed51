"""Random graphs of integer ops on the tensor engine and the core: the interpreter's bytes.

`HybridModel` also holds the cycles of every segment to the estimate.
"""

from collections.abc import Sequence

import pytest

from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.npu.hybrid import HybridModel
from lepton_cc.passes.manager import PassManager
from tests.differential.layers import assert_same_bytes
from tests.differential.test_random_quantized_graphs import random_graphs
from tests.ir.random_quantized_graphs import random_bytes

MEMBERS = (64, 128, 256, 1024)
_QUICK = 24


def segments_of(graphs: Sequence[Graph]) -> int:
    """Runs the graphs, each on the next member; how many segments they had together."""
    count = 0
    for number, graph in enumerate(graphs):
        target = load_target(f"lepton-npu-{MEMBERS[number % len(MEMBERS)]}")
        assert target.engine is not None
        placed = PassManager(LEVELS[OptLevel.O3].pipeline(target)).run(graph)
        model = HybridModel(placed, machine_of(target.engine))
        inputs = random_bytes(graph, number)
        assert_same_bytes(model.run(inputs), interpret(graph, inputs))
        count += len(model.segments)
    return count


def test_graphs_on_engine_and_core() -> None:
    assert segments_of(random_graphs(_QUICK)) > _QUICK // 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "batch", [0, *(pytest.param(i, marks=pytest.mark.long) for i in range(1, 8))]
)
def test_more_graphs_on_engine_and_core(batch: int) -> None:
    graphs = random_graphs(400)[50 * batch : 50 * batch + 50]
    assert segments_of(graphs) > 5
