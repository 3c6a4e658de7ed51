"""Folding strides: the same sums by a shorter window, and what is left alone."""

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.fold_strides import FoldStrides


def convolution(
    length: int, taps: int, stride: int, *, channels: int = 1, pad: int = 0, dilation: int = 1
) -> Graph:
    rng = np.random.default_rng(0)
    builder = GraphBuilder("frames")
    x = builder.input("x", TensorType(DType.I8, (1, length, channels)))
    weights = builder.constant(rng.integers(-128, 128, (taps, channels, 3)).astype(np.int8))
    bias = builder.constant(rng.integers(-99, 99, 3).astype(np.int32))
    window = Window((taps,), (stride,), (dilation,), (pad,), (pad,))
    return builder.finish([builder.emit(Conv(window, 1, -7), x, weights, bias)], ["y"])


def folded(graph: Graph) -> Window:
    """The window after the pass, which must give what it gave."""
    after = FoldStrides().run(graph, Statistics())
    x = np.random.default_rng(1).integers(-128, 128, graph.inputs[0].type.dims).astype(np.int8)
    assert np.array_equal(interpret(graph, {"x": x})["y"], interpret(after, {"x": x})["y"])
    (window,) = (op.kind.window for op in after.ops if isinstance(op.kind, Conv))
    return window


@pytest.mark.parametrize(
    ("length", "taps", "stride", "channels", "short"),
    [(640, 256, 128, 1, 2), (700, 256, 64, 1, 4), (601, 300, 300, 2, 1), (256, 256, 2, 3, 128)],
)
def test_long_windows_get_shorter(
    length: int, taps: int, stride: int, channels: int, short: int
) -> None:
    window = folded(convolution(length, taps, stride, channels=channels))
    assert (window.size, window.strides) == ((short,), (1,))


@pytest.mark.parametrize(
    "graph",
    [
        convolution(400, 128, 64),
        convolution(400, 300, 7),
        convolution(600, 256, 128, pad=128),
        convolution(900, 256, 128, dilation=2),
    ],
    ids=["short", "no multiple", "padded", "dilated"],
)
def test_others_stay(graph: Graph) -> None:
    (before,) = (op.kind.window for op in graph.ops if isinstance(op.kind, Conv))
    assert folded(graph) == before
