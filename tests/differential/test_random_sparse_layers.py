"""Random integer layers with zeros, in graphs of a dozen: code is what the interpreter computes."""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from tests.codegen.lower.code_case import Case, Known, graph_of
from tests.codegen.lower.sparse_weights import blocks, of_four
from tests.differential.layers import assert_same_bytes
from tests.differential.ways import Way

_LAYERS = 12


def _weights(rng: np.random.Generator, depth: int, width: int) -> Array:
    if depth % 4 == 0 and rng.random() < 0.25:
        return of_four(int(rng.integers(1, 3)), depth, width)
    rows, columns = 4, 16
    if rng.random() < 0.5:
        rows, columns = 1 << int(rng.integers(0, 3)), 1 << int(rng.integers(0, 5))
    rows = rows if depth % rows == 0 else 1
    columns = columns if width % columns == 0 else 1
    return blocks(depth, width, (rows, columns), float(rng.uniform(0.4, 0.95)))


def _window(rng: np.random.Generator) -> Window:
    rank = int(rng.choice([1, 2, 2, 3]))

    def each(*choices: int) -> tuple[int, ...]:
        return tuple(int(n) for n in rng.choice(choices, rank))

    padding = (each(0, 1, 2), each(0, 1, 2)) if rng.random() < 0.6 else ((0,) * rank,) * 2
    return Window(each(1, 2, 3, 3), each(1, 1, 2, 3), each(1, 1, 2), *padding)


def _layer(rng: np.random.Generator) -> Case:
    filters = int(rng.choice([1, 3, 4, 7, 8, 12, 16, 32, 48]))
    zero_point = int(rng.integers(-128, 128))
    bias = Known(rng.integers(-10000, 10000, filters).astype(np.int32))
    rest = (bias,) if rng.random() < 0.6 else ()
    if rng.random() < 0.4:
        depth, rows = int(rng.choice([4, 16, 24, 64, 96])), int(rng.choice([1, 2, 5, 16, 33]))
        x = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        content = _weights(rng, depth, filters).astype(np.int8)
        return Case(MatMul(lhs_zero_point=zero_point), (x, Known(content), *rest))
    window, channels = _window(rng), int(rng.choice([1, 3, 4, 8, 16, 32]))
    spans = zip(window.size, window.dilations, window.low, window.high, strict=True)
    dims = [max((n - 1) * d + 1 - low - high, 1) + rng.integers(0, 9) for n, d, low, high in spans]
    x = rng.integers(-128, 128, (int(rng.integers(1, 3)), *dims, channels)).astype(np.int8)
    flat = _weights(rng, int(np.prod(window.size)) * channels, filters).astype(np.int8)
    content = flat.reshape(*window.size, channels, filters)
    return Case(Conv(window, 1, zero_point), (x, Known(content), *rest))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4-vnni", "rv32imc"])
@pytest.mark.parametrize("seed", range(3))
def test_random_layers(seed: int, name: str, tmp_path: Path) -> None:
    way = Way(name, name)
    way.require()
    rng = np.random.default_rng(seed)
    graph, inputs = graph_of([_layer(rng) for _ in range(_LAYERS)])
    run = way.load(way.compile_graph(graph, "sparse"), tmp_path)
    assert_same_bytes(run(inputs), interpret(graph, inputs))
