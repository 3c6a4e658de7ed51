"""Scales of channels moved into weights: the floats stay, rounding errs less."""

import numpy as np
import pytest

from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.elementwise import Binary, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.normalization import LayerNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.migrate_scales import ChannelSizes, MigrateScales, scaled_groups
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

WIDTH = 32


def network() -> Graph:
    """A feed-forward block with a gate; some channels of its norm are 60 times the others."""
    generator = np.random.default_rng(0)
    builder = GraphBuilder("block", ["x"])
    scale = np.ones(WIDTH, np.float32)
    scale[[3, 17]] = 60
    x = builder.input("x", TensorType(DType.F32, (4, WIDTH)))
    bias = np.linspace(-0.1, 0.1, WIDTH).astype(np.float32)
    parameters = [builder.constant(one) for one in (scale, bias)]
    norm = builder.emit(LayerNorm(1), x, *parameters, name="norm")

    def product(value: object, name: str) -> object:
        weights = generator.standard_normal((WIDTH, WIDTH)).astype(np.float32)
        weights[[3, 17]] /= 60
        return builder.emit(MatMul(), value, builder.constant(weights), name=name)  # type: ignore[arg-type]

    gate = builder.emit(Unary(UnaryFunction.SIGMOID), product(norm, "gate"))  # type: ignore[arg-type]
    up = product(norm, "up")
    gated = builder.emit(Binary(BinaryFunction.MUL), gate, up, name="gated")  # type: ignore[arg-type]
    return builder.finish([product(gated, "y")], ["y"])  # type: ignore[list-item]


@pytest.fixture(scope="module")
def samples() -> Array:
    return np.random.default_rng(1).standard_normal((20, 4, WIDTH)).astype(np.float32)


def test_groups_are_what_norms_and_gates_give() -> None:
    groups = {one.value.name: one for one in scaled_groups(network())}
    assert list(groups) == ["norm", "gated"]
    assert [op.result.name for op in groups["norm"].products] == ["gate", "up"]
    assert len(groups["norm"].scaled) == 2
    assert len(groups["gated"].scaled) == 1


def test_floats_stay_and_outliers_go(samples: Array) -> None:
    graph = network()
    largest = np.ones(WIDTH)
    largest[[3, 17]] = 60
    sizes = {name: ChannelSizes(largest, largest**2 / 4) for name in ("norm", "gated")}
    statistics = Statistics()
    moved = MigrateScales(sizes).run(graph, statistics)
    assert statistics.counts == (("scale the channels of products", 2),)
    probed = [
        Graph(one.name, one.inputs, (value, one.outputs[0]), ("norm", "y"), one.ops)
        for one in (graph, moved)
        for op in one.ops
        for value in op.results
        if value.name == "norm"
    ]
    before, after = (interpret(one, {"x": samples[0]}) for one in probed)
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-5, atol=1e-5)
    spreads = [np.abs(one["norm"]).max() / np.abs(one["norm"]).mean() for one in (before, after)]
    assert spreads[1] < 0.3 * spreads[0]


@pytest.mark.parametrize("scheme", [WeightScheme.W8A8, WeightScheme.W4A16])
def test_quantizing_errs_less(samples: Array, scheme: WeightScheme) -> None:
    errors = []
    for smooth in (False, True):
        options = QuantizationOptions(scheme, {"x": samples}, smooth=smooth)
        found = quantize(network(), options)
        assert found is not None
        expected = [interpret(network(), {"x": x})["y"] for x in samples]
        got = [interpret(found.graph, {"x": x})["y"] for x in samples]
        errors.append(float(np.sum(np.square(np.subtract(got, expected)))))
    assert errors[1] < (0.2 if scheme is WeightScheme.W8A8 else 1.0) * errors[0]
