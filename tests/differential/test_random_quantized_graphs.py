"""Random graphs of integer ops give the interpreter's bytes everywhere.

Many of them are compiled as one graph of many inputs and outputs, since starting a C compiler and
linking an image take longer than a small graph. `pytest --quantized-graphs 2000` runs more.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.printer import print_graph
from tests.differential.layers import assert_same_bytes
from tests.differential.ways import C_OF_32_BITS, EMULATED, INTEGERS, NATIVE, C, Way
from tests.ir.random_quantized_graphs import quantized_graphs, random_bytes

GRAPHS_A_BATCH = 25
_SEED = 1
_NAMES = (
    "host-O1",
    "x86-64",
    "x86-64-O0",
    "x86-64-v3",
    "x86-64-v3-vnni",
    "x86-64-v4",
    "x86-64-v4-vnni",
    "x86-64-without-floats",
    "clang-O0",
    "clang-m32-O3",
    "gcc-m32-rv32imc",
    "rv32imc",
    "rv32imafc",
)
WAYS = tuple(
    way for way in (*NATIVE, *INTEGERS, *C, *C_OF_32_BITS, *EMULATED) if way.name in _NAMES
)


@cache
def random_graphs(count: int) -> tuple[Graph, ...]:
    """The first graphs of a fixed sequence, no two alike."""
    graphs: dict[str, Graph] = {}

    @seed(_SEED)
    @settings(
        max_examples=2 * count,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(graph=quantized_graphs())
    def collect(graph: Graph) -> None:
        graphs[print_graph(graph)] = graph

    collect()
    assert len(graphs) >= count
    return tuple(graphs.values())[:count]


def side_by_side(graphs: Sequence[Graph]) -> Graph:
    """One graph that computes all of them; names get the graph's number in front."""
    ops: list[Op] = []
    inputs: list[Value] = []
    outputs: list[Value] = []
    for number, graph in enumerate(graphs):
        results = (result for op in graph.ops for result in op.results)
        renamed = {v: Value(f"g{number}_{v.name}", v.type) for v in (*graph.inputs, *results)}
        for op in graph.ops:
            operands = tuple(None if v is None else renamed[v] for v in op.operands)
            ops.append(
                replace(op, operands=operands, results=tuple(renamed[v] for v in op.results))
            )
        inputs += [renamed[value] for value in graph.inputs]
        outputs += [renamed[value] for value in graph.outputs]
    names = [f"g{n}_{name}" for n, graph in enumerate(graphs) for name in graph.output_names]
    return Graph("batch", tuple(inputs), tuple(outputs), tuple(names), tuple(ops))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count = metafunc.config.getoption("--quantized-graphs")
    batches = range(0, count, GRAPHS_A_BATCH)
    metafunc.parametrize(
        ("first", "way"),
        [
            pytest.param(first, way, id=f"{first}-{way}", marks=pytest.mark.slow)
            for first in batches
            for way in WAYS
        ],
    )


def test_every_way_gives_the_same_bytes(
    first: int, way: Way, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    way.require()
    graphs = random_graphs(pytestconfig.getoption("--quantized-graphs"))
    batch = side_by_side(graphs[first : first + GRAPHS_A_BATCH])
    run = way.load(way.compile_graph(batch, "batch"), tmp_path)
    inputs = random_bytes(batch)
    assert_same_bytes(run(inputs), interpret(batch, inputs))
