"""Figures of a layer's own noise, where they could be mistaken."""

import numpy as np

from lepton_cc.attribution.causes import Cause, layer_noises
from lepton_cc.attribution.swap import swapper
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.types import TensorType


def test_what_softmax_does_not_look_at_is_not_saturated() -> None:
    """Ranges of logits leave out what is 16 below the largest, which changes no probability."""
    generator = np.random.default_rng(0)
    builder = GraphBuilder("classes", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, 16)))
    weights = builder.constant(generator.standard_normal((16, 10)).astype(np.float32) * 20)
    logits = builder.emit(MatMul(), x, weights, name="logits")
    graph = builder.finish([builder.emit(Softmax(1), logits)], ["y"])
    samples = generator.standard_normal((32, 1, 16)).astype(np.float32)
    found = quantize(graph, QuantizationOptions(source={"x": samples}))
    assert found is not None
    swapping = swapper(found.graph, found.prepared)
    noises = layer_noises(swapping, [{"x": sample} for sample in samples])
    (noise,) = (
        noise
        for noise, layer in zip(noises, swapping.layers, strict=True)
        if layer.name == "logits"
    )
    assert noise.clipping < noise.rounding
    assert noise.cause is not Cause.SATURATION
