"""Normalizations against ONNX Runtime or the reference evaluator."""

import numpy as np
import pytest

from lepton_cc.ir.ops.normalization import LayerNorm
from tests.lepton_cc.frontend.node_case import NodeCase, floats

X = floats(2, 6, 4, 3)
C1, C2 = floats(6, seed=1), floats(6, seed=2)

CASES = {
    **{
        f"layer-{axis}-{outputs}": NodeCase(
            "LayerNormalization",
            (X, floats(*X.shape[axis:], seed=1), floats(*X.shape[axis:], seed=2)),
            {"axis": axis, "epsilon": 1e-3},
            num_outputs=outputs,
        )
        for axis in (1, 2, -1)
        for outputs in (1, 3)
    },
    "layer-no-bias": NodeCase("LayerNormalization", (X, floats(3, seed=1))),
    "layer-wide-scale": NodeCase("LayerNormalization", (X, floats(4, 3, seed=1)), {"axis": -1}),
    **{
        f"rms-{axis}": NodeCase(
            "RMSNormalization", (X, floats(*X.shape[axis:], seed=1)), {"axis": axis}, opset=23
        )
        for axis in (1, -1)
    },
    "simplified-layer": NodeCase(
        "SimplifiedLayerNormalization", (X, floats(3, seed=1)), {"axis": -1}, onnxruntime=True
    ),
    "instance": NodeCase("InstanceNormalization", (X, C1, C2), {"epsilon": 1e-2}),
    "instance-1d": NodeCase("InstanceNormalization", (X[..., 0], C1, C2)),
    "group-21": NodeCase("GroupNormalization", (X, C1, C2), {"num_groups": 2}),
    "mean-variance": NodeCase("MeanVarianceNormalization", (X,), atol=1e-4),
    "mean-variance-axes": NodeCase("MeanVarianceNormalization", (X,), {"axes": [-1, 1]}, atol=1e-4),
    **{
        f"lrn-{size}": NodeCase(
            "LRN", (X,), {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 2.0}, onnxruntime=True
        )
        for size in (1, 3, 5)
    },
    **{
        f"lp-{p}-{axis}": NodeCase(
            "LpNormalization", (X,), {"p": p, "axis": axis}, onnxruntime=True
        )
        for p in (1, 2)
        for axis in (0, -1)
    },
}


@pytest.mark.parametrize("name", CASES)
def test_against_oracle(name: str) -> None:
    CASES[name].check()


def test_scale_and_bias_stay_inside_the_op() -> None:
    graph = CASES["layer-2-1"].graph()
    assert [type(op.kind) for op in graph.ops] == [LayerNorm]


def test_half_precision_computes_in_binary32() -> None:
    x = (floats(4, 64) * 100 + 1000).astype(np.float16)
    scale = np.ones(64, np.float16)
    (y,) = NodeCase("LayerNormalization", (x, scale)).interpreted()
    (wide,) = NodeCase(
        "LayerNormalization", (x.astype(np.float32), scale.astype(np.float32))
    ).interpreted()
    np.testing.assert_array_equal(y, wide.astype(np.float16))


def test_zero_vector_stays() -> None:
    x = np.zeros((2, 3), np.float32)
    (y,) = NodeCase("LpNormalization", (x,)).interpreted()
    np.testing.assert_array_equal(y, x)
