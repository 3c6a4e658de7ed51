"""Layers that would save next to nothing at 4 bits keep 8, unless they are told otherwise."""

import itertools

import numpy as np
import pytest

from lepton_cc.calibration.data import calibration_data
from lepton_cc.calibration.layer_schemes import LayerScheme
from lepton_cc.calibration.quantize import QuantizationOptions, quantize_prepared
from lepton_cc.calibration.small_layers import small_layers
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

WIDE = 512


def network(*widths: int) -> Graph:
    """Products from each width to the next; "y0" is the first one's result."""
    generator = np.random.default_rng(0)
    builder = GraphBuilder("network", ["x"])
    value = builder.input("x", TensorType(DType.F32, (1, widths[0])))
    for number, shape in enumerate(itertools.pairwise(widths)):
        weights = builder.constant(generator.standard_normal(shape).astype(np.float32))
        value = builder.emit(MatMul(), value, weights, name=f"y{number}")
    return builder.finish([value], ["y"])


def test_a_bottleneck_is_small_among_large_layers() -> None:
    graph = network(WIDE, WIDE, 4, WIDE)
    assert small_layers(graph, WeightScheme.W4A8) == {
        "y1": WeightScheme.W8A8,
        "y2": WeightScheme.W8A8,
    }
    assert set(small_layers(graph, WeightScheme.W4A16).values()) == {WeightScheme.W8A16}


@pytest.mark.parametrize(
    ("widths", "scheme"),
    [
        # All weights have 8 bits.
        ((WIDE, WIDE, 4, WIDE), WeightScheme.W8A8),
        # Each would fit into a 64th of all weights, but both do not.
        ((WIDE, WIDE, 6, WIDE), WeightScheme.W4A8),
        ((64, 64, 64), WeightScheme.W4A8),
    ],
)
def test_none_is_small(widths: tuple[int, ...], scheme: WeightScheme) -> None:
    assert small_layers(network(*widths), scheme) == {}


def test_what_a_layer_is_told_counts() -> None:
    graph = network(WIDE, WIDE, 4, WIDE)
    x = np.random.default_rng(1).standard_normal((4, WIDE)).astype(np.float32)
    options = QuantizationOptions(WeightScheme.W4A8, layers=(LayerScheme("y1", WeightScheme.W4A8),))
    found = quantize_prepared(graph, calibration_data(graph, {"x": x}), options)
    assert found is not None
    assert [record.bits for record in found.rounding.records] == [4, 4, 8]
