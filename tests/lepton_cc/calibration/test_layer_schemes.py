"""Layers with bits of their own: which ones may have them, and what becomes of a sum that has."""

import numpy as np
import pytest

from lepton_cc.calibration.layer_schemes import LayerScheme, named_layers, scheme_layers
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location
from lepton_cc.ir.ops.elementwise import Binary, Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.weight_rounding import WeightScheme


def _graph() -> Graph:
    generator = np.random.default_rng(0)
    builder = GraphBuilder("residual", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, 8)))
    weights = builder.constant(generator.standard_normal((8, 8)).astype(np.float32))
    product = builder.emit(MatMul(), x, weights, location=Location(("dense",)), name="y0")
    total = builder.emit(
        Binary(BinaryFunction.ADD), product, x, location=Location(("shortcut",)), name="y1"
    )
    bounded = builder.emit(Clamp(low=0.0), total, location=Location(("relu",)), name="y2")
    last = builder.emit(MatMul(), bounded, weights, location=Location(("head",)), name="y3")
    return builder.finish([builder.emit(Softmax(1), last, location=Location(("soft",)))], ["y"])


def test_layers_with_weights_and_sums_may_have_schemes() -> None:
    # A relu is part of what is before it, the range of softmax is known.
    assert [op.location.nodes for op in scheme_layers(_graph())] == [
        ("dense",),
        ("shortcut",),
        ("head",),
    ]
    with pytest.raises(UsageError, match="no layer is called 'relu'; there are dense, shortcut"):
        named_layers(_graph(), [LayerScheme("relu", WeightScheme.W8A16)])


def test_a_wider_sum_gives_sixteen_bits_behind_its_relu_and_nothing_else_does() -> None:
    data = {"x": np.random.default_rng(1).standard_normal((16, 1, 8)).astype(np.float32)}
    wider = (LayerScheme("shortcut", WeightScheme.W8A16),)
    found = quantize(_graph(), QuantizationOptions(source=data, layers=wider))
    assert found is not None
    dtypes = {
        op.inputs[0].name: op.kind.dtype for op in found.graph.ops if isinstance(op.kind, Quantize)
    }
    assert [name for name, dtype in dtypes.items() if dtype is DType.I16] == ["y2"]
    assert len(dtypes) > 3
