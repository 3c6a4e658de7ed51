"""Quantize, dequantize and the integer contractions; those against ONNX Runtime bit for bit."""

import ml_dtypes
import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

X = floats(3, 4, 6) * 30


def _scale(*shape: int) -> Array:
    return np.abs(floats(*shape, seed=9)) + np.float32(0.05)


def _zero(dtype: str, *shape: int) -> Array:
    low, high = {"int8": (-5, 5), "uint8": (100, 140), "int16": (-9, 9), "uint16": (9, 99)}[dtype]
    return integers(low, high, *shape, seed=3, dtype=dtype)


GRANULARITIES: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "tensor": ((), {}),
    "axis": ((4,), {"axis": 1}),
    "last-axis": ((6,), {"axis": -1}),
    "blocks": ((3, 4, 2), {"axis": 2, "block_size": 3}),
    "ragged-blocks": ((3, 1, 6), {"axis": 1, "block_size": 4}),
}
CASES = {
    **{
        f"quantize-{dtype}-{name}": NodeCase(
            "QuantizeLinear", (X, _scale(*shape), _zero(dtype, *shape)), attributes
        )
        for dtype in ("int8", "uint8", "int16", "uint16")
        for name, (shape, attributes) in GRANULARITIES.items()
    },
    **{
        f"dequantize-{dtype}-{name}": NodeCase(
            "DequantizeLinear",
            (integers(0, 120, 3, 4, 6, dtype=dtype), _scale(*shape), _zero(dtype, *shape)),
            attributes,
        )
        for dtype in ("int8", "uint8", "int16")
        for name, (shape, attributes) in GRANULARITIES.items()
    },
    "quantize-no-zero-point": NodeCase("QuantizeLinear", (X, np.float32(0.5))),
    "quantize-output-dtype": NodeCase(
        "QuantizeLinear", (X, np.float32(0.5)), {"output_dtype": 3}, opset=23
    ),
    "dequantize-i32": NodeCase(
        "DequantizeLinear", (integers(-(10**6), 10**6, 9, dtype="int32"), np.float32(0.01))
    ),
    "dynamic": NodeCase("DynamicQuantizeLinear", (X,), num_outputs=3),
    "dynamic-positive": NodeCase("DynamicQuantizeLinear", (np.abs(X) + 5,), num_outputs=3),
    "dynamic-negative": NodeCase("DynamicQuantizeLinear", (-np.abs(X) - 5,), num_outputs=3),
    **{
        f"quantize-{dtype}": NodeCase(
            "QuantizeLinear",
            (X, np.float32(2.0), np.zeros((), dtype)),
            {"saturate": 1},
        )
        for dtype in (
            ml_dtypes.float8_e4m3fn,
            ml_dtypes.float8_e5m2,
            ml_dtypes.int4,
            ml_dtypes.uint4,
        )
    },
}


@pytest.mark.parametrize("name", CASES)
def test_against_reference(name: str) -> None:
    CASES[name].check()


def _bytes(dtype: str, *shape: int, seed: int = 0) -> Array:
    low = -128 if dtype == "int8" else 0
    return integers(low, low + 256, *shape, seed=seed, dtype=dtype)


def _qlinear_conv(dtype: str, *, per_channel: bool, bias: bool, **attributes: object) -> NodeCase:
    outputs, groups = 8, int(str(attributes.get("group", 1)))
    shape = (outputs,) if per_channel else ()
    weights = _bytes("int8", outputs, 4 // groups, 3, 3, seed=1)
    return NodeCase(
        "QLinearConv",
        (
            _bytes(dtype, 2, 4, 7, 6),
            np.float32(0.021),
            _zero(dtype),
            weights,
            _scale(*shape) / 50,
            np.zeros(shape, np.int8),
            np.float32(0.37),
            _zero(dtype),
            integers(-3000, 3000, outputs, dtype="int32") if bias else None,
        ),
        attributes,
        known=(1, 2, 3, 4, 5, 6, 7, 8),
        onnxruntime=True,
        rtol=0,
        atol=0,
    )


def _qlinear_matmul(dtype: str, scale: Array | np.float32) -> NodeCase:
    return NodeCase(
        "QLinearMatMul",
        (
            _bytes(dtype, 2, 5, 7),
            np.float32(0.013),
            _zero(dtype),
            _bytes("int8", 7, 6, seed=1),
            scale,
            np.zeros(scale.shape, np.int8),
            np.float32(0.29),
            _zero(dtype),
        ),
        known=(1, 2, 3, 4, 5, 6, 7),
        onnxruntime=True,
        rtol=0,
        atol=0,
    )


EXACT = {
    **{
        f"conv-{dtype}-{per_channel}": _qlinear_conv(dtype, per_channel=per_channel, bias=True)
        for dtype in ("int8", "uint8")
        for per_channel in (False, True)
    },
    "conv-padded": _qlinear_conv("uint8", per_channel=True, bias=False, pads=[1, 2, 1, 0]),
    "conv-strided": _qlinear_conv("int8", per_channel=True, bias=True, strides=[2, 1]),
    "conv-grouped": _qlinear_conv("uint8", per_channel=True, bias=True, group=2),
    "conv-same": _qlinear_conv("uint8", per_channel=False, bias=True, auto_pad="SAME_UPPER"),
    **{
        f"matmul-{dtype}-{name}": _qlinear_matmul(dtype, scale)
        for dtype in ("int8", "uint8")
        for name, scale in (("tensor", np.float32(0.02)), ("column", _scale(6) / 50))
    },
    "matmul-integer": NodeCase(
        "MatMulInteger",
        (_bytes("uint8", 5, 7), _bytes("int8", 7, 6), np.array(7, np.uint8), _bytes("int8", 6)),
        onnxruntime=True,
        known=(1, 3),
    ),
    "conv-integer": NodeCase(
        "ConvInteger",
        (
            _bytes("uint8", 1, 3, 5, 5),
            _bytes("uint8", 4, 3, 3, 3),
            np.array(9, np.uint8),
            np.array(4, np.uint8),
        ),
        {"pads": [1, 1, 1, 1]},
        onnxruntime=True,
        known=(1, 2, 3),
    ),
    "qgemm": NodeCase(
        "QGemm",
        (
            _bytes("uint8", 5, 7),
            np.float32(0.013),
            np.uint8(120),
            _bytes("int8", 6, 7, seed=1),
            _scale(6) / 50,
            np.zeros(6, np.int8),
            integers(-3000, 3000, 6, dtype="int32"),
            np.float32(0.29),
            np.uint8(130),
        ),
        {"transB": 1},
        domain="com.microsoft",
        known=(1, 2, 3, 4, 5, 6, 7, 8),
        onnxruntime=True,
        rtol=0,
        atol=0,
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_against_onnxruntime(name: str) -> None:
    EXACT[name].check()


def test_rounds_half_to_even_and_saturates() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, np.nan], np.float32)
    (y,) = NodeCase("QuantizeLinear", (x, np.float32(1), np.int8(3))).interpreted()
    assert y.tolist() == [3, 5, 5, 3, 1, 127, -128, 3]


def test_misfitting_scale_is_refused() -> None:
    case = NodeCase("QuantizeLinear", (X, _scale(5), _zero("int8", 5)), {"axis": 1})
    with pytest.raises(Refused, match="entries of axis 1"):
        import_model(case.model())
