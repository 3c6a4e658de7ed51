"""Resized quantized tensors: the formula of docs/numerics.md, then the same bytes from the code.

Every table of taps, type and layout is one output of a single graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.frontend.resize_tables import (
    AxisResize,
    Coordinates,
    Interpolation,
    TapTable,
    interpolation_table,
)
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from tests.differential.layers import assert_same_bytes
from tests.differential.ways import C_OF_32_BITS, EMULATED, INTEGERS, NATIVE, C, Way
from tests.ir.random_quantized_graphs import random_bytes
from tests.passes.quantize.test_quantizer import RAISE

_WAYS = (*NATIVE, *INTEGERS, *C, *C_OF_32_BITS, *EMULATED)
_QUICK = ("host-O1", "x86-64", "x86-64-v3", "x86-64-v4", "x86-64-without-floats", "gcc-O3")
_SLOW = ("gcc-m32-rv32imc", "rv32imc", "rv32imafc", "clang-O3")
WAYS = [
    pytest.param(way, marks=[] if way.name in _QUICK else [pytest.mark.slow])
    for way in _WAYS
    if way.name in (*_QUICK, *_SLOW)
]


@dataclass(frozen=True, slots=True)
class Resizing:
    """A tensor, the sizes that axes get, and the kind of taps; scales and zero points of both."""

    dims: tuple[int, ...]
    sizes: dict[int, int]
    mode: Interpolation = Interpolation.LINEAR
    coordinates: Coordinates = Coordinates.HALF_PIXEL
    dtype: DType = DType.I8
    scales: tuple[float, float] = (0.03, 0.03)
    zero_points: tuple[int, int] = (3, 3)

    def table(self, axis: int) -> TapTable:
        size, out = self.dims[axis], self.sizes[axis]
        resize = AxisResize(size, out, out / size)
        return interpolation_table(
            resize,
            resize.coordinates(self.coordinates),
            self.mode,
            antialias=False,
            cubic_a=-0.75,
            exclude_outside=False,
        )

    def expected(self, x: Array) -> Array:
        """y as docs/numerics.md has it."""
        total = x.astype(np.int64)
        for axis in self.sizes:
            table = self.table(axis)
            exact = table.weights.astype(np.float32).astype(np.float64) * 2048
            weights = np.rint(exact).astype(np.int64)
            left = 2048 - weights.sum(axis=1)
            weights[np.arange(len(weights)), np.abs(exact).argmax(axis=1)] += left
            taps = np.take(total, table.indices, axis=axis)
            shape = [1] * axis + list(weights.shape) + [1] * (x.ndim - axis - 1)
            total = (taps * weights.reshape(shape)).sum(axis=axis + 1)
        unit = 2048 ** len(self.sizes)
        sx, sy = (np.float32(scale) for scale in self.scales)
        centered = (total - self.zero_points[0] * unit).astype(np.float32)
        rounded = np.rint(centered * (sx / sy / np.float32(unit))) + self.zero_points[1]
        low, high = integer_bounds(self.dtype)
        return np.asarray(np.clip(rounded, low, high).astype(x.dtype))

    def emit(self, builder: GraphBuilder, x: Value) -> Value:
        """The resized input, with floats in between."""

        def parameters(which: int) -> tuple[Value, Value]:
            point = np.asarray(self.zero_points[which], self.dtype.numpy)
            scale = np.asarray(self.scales[which], np.float32)
            return builder.constant(scale), builder.constant(point)

        value = builder.emit(Dequantize(), x, *parameters(0))
        for axis in self.sizes:
            table = self.table(axis)
            indices = builder.constant(table.indices.astype(np.int32))
            weights = builder.constant(table.weights.astype(np.float32))
            value = builder.emit(Resample(axis), value, indices, weights)
        return builder.emit(Quantize(self.dtype), value, *parameters(1))


_CORNERS = Coordinates.ALIGN_CORNERS
RESIZINGS = (
    Resizing((1, 5, 6, 16), {1: 10, 2: 12}),
    Resizing((1, 3, 6, 17), {2: 12, 3: 34}),
    Resizing((2, 4, 7, 3), {1: 8, 2: 14}, zero_points=(-128, 127)),
    Resizing((1, 4, 5, 8), {1: 16, 2: 20}, scales=(0.05, 0.03)),
    Resizing((1, 4, 6, 8), {1: 6, 2: 9}, coordinates=_CORNERS, zero_points=(-7, 20)),
    Resizing((1, 8, 6, 8), {1: 4, 2: 12}, coordinates=Coordinates.ASYMMETRIC),
    Resizing((1, 9, 9, 4), {1: 5, 2: 4}),
    Resizing((1, 6, 7, 5), {1: 12, 2: 14}, Interpolation.CUBIC),
    Resizing((1, 6, 40), {2: 80}, scales=(0.02, 0.03)),
    Resizing((1, 5, 6, 8), {1: 10, 2: 12}, dtype=DType.U8, zero_points=(128, 0)),
    Resizing((1, 5, 8), {1: 10}, dtype=DType.I16, zero_points=(-700, 99)),
)


def graph_of(resizings: Sequence[Resizing]) -> Graph:
    """Raised, each with an input and an output of its own."""
    builder = GraphBuilder("resizings")
    given = [
        builder.input(f"x{number}", TensorType(each.dtype, each.dims))
        for number, each in enumerate(resizings)
    ]
    outputs = [each.emit(builder, x) for each, x in zip(resizings, given, strict=True)]
    before = builder.finish(outputs, [f"y{number}" for number in range(len(outputs))])
    after = PassManager(RAISE).run(before)
    assert not float_ops(after)
    return after


def test_integers_are_those_of_the_formula() -> None:
    graph = graph_of(RESIZINGS)
    inputs = random_bytes(graph)
    expected = {f"y{n}": each.expected(inputs[f"x{n}"]) for n, each in enumerate(RESIZINGS)}
    assert_same_bytes(interpret(graph, inputs), expected)


def test_twice_the_size_is_summed_in_16_bits_the_rows_last() -> None:
    graph = graph_of(RESIZINGS[:1])
    gathers = [op for op in graph.ops if isinstance(op.kind, Gather)]
    assert [op.kind for op in gathers] == [Gather(2), Gather(2), Gather(1), Gather(1)]
    assert [op.result.type.dtype for op in gathers] == [DType.I8] * 2 + [DType.I16] * 2
    # What shrinks goes first.
    mixed = graph_of(RESIZINGS[5:6])
    kinds = [op.kind for op in mixed.ops if isinstance(op.kind, Gather)]
    assert kinds[0] == Gather(1)
    assert kinds[-1] == Gather(2)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_code_gives_the_same_bytes(way: Way, tmp_path: Path) -> None:
    way.require()
    graph = graph_of(RESIZINGS)
    inputs = random_bytes(graph)
    run = way.load(way.compile_graph(graph, "resizings"), tmp_path)
    assert_same_bytes(run(inputs), interpret(graph, inputs))
