"""ONNX Runtime's own operators against ONNX Runtime."""

import numpy as np
import pytest

from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

X, Y = floats(3, 4, 8), floats(3, 4, 8, seed=1)


def _bytes(*shape: int, seed: int = 0) -> Array:
    return integers(0, 256, *shape, seed=seed, dtype="uint8")


def _case(op_type: str, *operands: Array | np.generic | None, **options: object) -> NodeCase:
    options = {"known": tuple(range(1, len(operands)))} | options
    return NodeCase(op_type, operands, domain="com.microsoft", onnxruntime=True, **options)  # type: ignore[arg-type]  # a NodeCase's fields


A = (np.float32(0.021), np.uint8(120))
B = (np.float32(0.034), np.uint8(99))
OUT = (np.float32(0.05), np.uint8(131))
IMAGE = _bytes(2, 3, 7, 6)

QLINEAR = {
    "add": _case("QLinearAdd", _bytes(3, 5), *A, _bytes(3, 5, seed=1), *B, *OUT),
    "add-broadcast": _case("QLinearAdd", _bytes(3, 5), *A, _bytes(5, seed=1), *B, *OUT),
    "mul": _case("QLinearMul", _bytes(3, 5), *A, _bytes(3, 5, seed=1), *B, *OUT),
    "sigmoid": _case("QLinearSigmoid", _bytes(3, 5), *A, np.float32(1 / 256), np.uint8(0)),
    "leaky-relu": _case("QLinearLeakyRelu", _bytes(3, 5), *A, *OUT, attributes={"alpha": 0.2}),
    "softmax": _case(
        "QLinearSoftmax",
        _bytes(3, 5),
        *A,
        np.float32(1 / 256),
        np.uint8(0),
        attributes={"axis": 1, "opset": 13},
    ),
    "concat": _case(
        "QLinearConcat",
        *OUT,
        _bytes(3, 5),
        *A,
        _bytes(3, 2, seed=1),
        *B,
        attributes={"axis": 1},
        known=(0, 1, 3, 4, 6, 7),
    ),
    **{
        f"average-pool-{count}": _case(
            "QLinearAveragePool",
            IMAGE,
            *A,
            *OUT,
            attributes={
                "kernel_shape": [3, 2],
                "strides": [2, 1],
                "pads": [1, 0, 1, 1],
                "count_include_pad": count,
            },
        )
        for count in (0, 1)
    },
    **{
        f"global-average-pool-{last}": _case(
            "QLinearGlobalAveragePool", IMAGE, *A, *OUT, attributes={"channels_last": last}
        )
        for last in (0, 1)
    },
}
FLOATS = {
    "gelu": _case("Gelu", X),
    "bias-gelu": _case("BiasGelu", X, floats(8, seed=1)),
    "fast-gelu": _case("FastGelu", X),
    "fast-gelu-bias": _case("FastGelu", X, floats(8, seed=1)),
    "quick-gelu": _case("QuickGelu", X, attributes={"alpha": 1.5}),
    **{
        f"fused-matmul-{a}{b}": _case(
            "FusedMatMul",
            floats(2, 5, 4) if a else floats(2, 4, 5),
            floats(3, 5) if b else floats(5, 3),
            attributes={"transA": a, "transB": b, "alpha": 0.5},
        )
        for a in (0, 1)
        for b in (0, 1)
    },
    "skip-layer-norm": _case(
        "SkipLayerNormalization", X, Y, floats(8, seed=2), floats(8, seed=3), floats(8, seed=4)
    ),
    "skip-simplified-layer-norm": _case(
        "SkipSimplifiedLayerNormalization", X, Y, floats(8, seed=2), attributes={"epsilon": 1e-5}
    ),
    "dynamic-quantize-matmul": _case(
        "DynamicQuantizeMatMul",
        floats(5, 7),
        integers(-128, 128, 7, 6, dtype="int8"),
        np.abs(floats(6)),
        integers(-4, 5, 6, dtype="int8"),
        floats(6, seed=1),
    ),
    "matmul-integer-to-float": _case(
        "MatMulIntegerToFloat",
        _bytes(5, 7),
        integers(-128, 128, 7, 6, dtype="int8"),
        np.float32(0.02),
        np.abs(floats(6)),
        np.uint8(120),
        np.zeros(6, np.int8),
        floats(6, seed=1),
        known=(1, 3, 5, 6),
    ),
    **{
        f"matmul-{bits}bits-{zeros}": _case(
            "MatMulNBits",
            floats(3, 64),
            _bytes(6, 2, 32 * bits // 8),
            np.abs(floats(6, 2)).reshape(-1),
            _bytes(6, 2 * bits // 8, seed=1).reshape(-1) if zeros else None,
            attributes={"K": 64, "N": 6, "bits": bits, "block_size": 32},
            atol=1e-2,
        )
        for bits, zeros in ((4, False), (4, True), (8, False), (8, True))
    },
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats(name: str) -> None:
    FLOATS[name].check()


@pytest.mark.parametrize("name", QLINEAR)
def test_qlinear_within_one_step(name: str) -> None:
    case = QLINEAR[name]
    (got,), (want,) = case.interpreted(), case.expected()
    assert got.dtype == want.dtype
    difference = np.abs(got.astype(int) - want.astype(int))
    assert difference.max() <= 1
    assert np.mean(difference) <= 0.1
