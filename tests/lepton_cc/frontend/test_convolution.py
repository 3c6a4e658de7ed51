"""Conv, ConvTranspose, pools, MatMul, Gemm and BatchNormalization against ONNX Runtime."""

from typing import Any

import numpy as np
import pytest

from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

IMAGE = floats(2, 4, 9, 7)
VECTOR = floats(2, 4, 11)
VOLUME = floats(1, 2, 5, 6, 4)
PADDED = {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1]}


def ort(op_type: str, *operands: Array | None, opset: int = 17, **attributes: Any) -> NodeCase:
    """A case whose oracle is ONNX Runtime and whose operands after the first are initializers."""
    indices = tuple(range(1, len(operands)))
    return NodeCase(
        op_type, operands, attributes, indices, opset=opset, onnxruntime=True, rtol=1e-4
    )


_COUNTED: tuple[dict[str, Any], ...] = (
    {**PADDED, "strides": [2, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER"},
)

CASES = {
    # Convolutions.
    "conv": ort("Conv", IMAGE, floats(6, 4, 3, 3)),
    "conv-bias": ort("Conv", IMAGE, floats(6, 4, 3, 3), floats(6)),
    "conv-7": ort("Conv", IMAGE, floats(6, 4, 3, 3), floats(6), opset=7),
    "conv-strided": ort("Conv", IMAGE, floats(6, 4, 3, 2), strides=[2, 3], pads=[1, 0, 2, 1]),
    "conv-dilated": ort("Conv", IMAGE, floats(6, 4, 3, 2), dilations=[2, 3], pads=[2, 1, 0, 3]),
    "conv-grouped": ort("Conv", IMAGE, floats(6, 2, 3, 3), floats(6), group=2),
    "conv-depthwise": ort("Conv", IMAGE, floats(8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "conv-pointwise": ort("Conv", IMAGE, floats(5, 4, 1, 1)),
    "conv-1d": ort("Conv", VECTOR, floats(3, 4, 4), strides=[2], pads=[2, 1]),
    "conv-3d": ort(
        "Conv", VOLUME, floats(3, 2, 2, 3, 2), strides=[1, 2, 1], pads=[1, 0, 1, 0, 1, 0]
    ),
    **{
        f"conv-{mode.lower()}-{strides}": ort(
            "Conv", IMAGE, floats(3, 4, 3, 2), auto_pad=mode, strides=strides
        )
        for mode in ("VALID", "SAME_UPPER", "SAME_LOWER")
        for strides in ([1, 1], [2, 2], [4, 3])
    },
    "conv-weights-at-run-time": NodeCase(
        "Conv", (IMAGE, floats(6, 4, 3, 3), floats(6)), onnxruntime=True, rtol=1e-4
    ),
    # Transposed convolutions.
    "deconv": ort("ConvTranspose", IMAGE, floats(4, 3, 3, 3)),
    "deconv-bias": ort("ConvTranspose", IMAGE, floats(4, 3, 3, 2), floats(3), strides=[2, 3]),
    "deconv-grouped": ort("ConvTranspose", IMAGE, floats(4, 3, 3, 3), group=2, strides=[2, 2]),
    "deconv-depthwise": ort("ConvTranspose", IMAGE, floats(4, 1, 2, 2), group=4, strides=[2, 2]),
    "deconv-dilated": ort("ConvTranspose", IMAGE, floats(4, 3, 3, 2), dilations=[2, 2]),
    "deconv-padded": ort(
        "ConvTranspose",
        IMAGE,
        floats(4, 3, 3, 3),
        strides=[2, 2],
        pads=[1, 0, 1, 2],
        output_padding=[1, 0],
    ),
    "deconv-output-shape": ort(
        "ConvTranspose", IMAGE, floats(4, 3, 3, 3), strides=[3, 2], output_shape=[28, 14]
    ),
    "deconv-output-shape-upper": ort(
        "ConvTranspose",
        IMAGE,
        floats(4, 3, 4, 4),
        strides=[2, 2],
        output_shape=[17, 13],
        auto_pad="SAME_UPPER",
    ),
    **{
        f"deconv-{mode.lower()}": ort(
            "ConvTranspose", IMAGE, floats(4, 3, 4, 3), strides=[2, 2], auto_pad=mode
        )
        for mode in ("VALID", "SAME_UPPER", "SAME_LOWER")
    },
    "deconv-1d": ort("ConvTranspose", VECTOR, floats(4, 2, 3), strides=[2]),
    "deconv-3d": ort("ConvTranspose", VOLUME, floats(2, 2, 2, 2, 2), strides=[2, 1, 2]),
    # Pools.
    **{
        f"{op.lower()}-{name}": ort(op, IMAGE, opset=opset, **attributes)
        for op in ("MaxPool", "AveragePool", "LpPool")
        for name, opset, attributes in (
            ("plain", 9, {"kernel_shape": [2, 3]}),
            ("strided", 11, {"kernel_shape": [3, 2], "strides": [2, 2]}),
            ("padded", 12, {**PADDED, "strides": [2, 1]}),
            ("valid", 12, {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "VALID"}),
        )
    },
    **{
        f"{op.lower()}-{mode.lower()}": ort(
            op, IMAGE, kernel_shape=[3, 2], strides=[2, 2], auto_pad=mode
        )
        for op in ("MaxPool", "AveragePool")
        for mode in ("SAME_UPPER", "SAME_LOWER")
    },
    **{
        f"{op.lower()}-ceil-{i}": ort(op, IMAGE, opset=opset, ceil_mode=1, **attributes)
        for op, opset in (("MaxPool", 12), ("AveragePool", 19))
        for i, attributes in enumerate(
            (
                {"kernel_shape": [2, 2], "strides": [2, 2]},
                {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
                {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1]},
                {"kernel_shape": [1, 1], "strides": [3, 4]},
            )
        )
    },
    **{
        f"averagepool-counted-{i}": ort(
            "AveragePool", IMAGE, opset=19, count_include_pad=1, **attributes
        )
        for i, attributes in enumerate(_COUNTED)
    },
    "maxpool-dilated": ort("MaxPool", IMAGE, kernel_shape=[2, 3], dilations=[3, 2]),
    "averagepool-dilated": ort(
        "AveragePool", IMAGE, opset=19, kernel_shape=[2, 3], dilations=[3, 2], pads=[1, 1, 0, 1]
    ),
    "maxpool-integers": NodeCase(
        "MaxPool",
        (integers(-99, 99, 1, 2, 5, 5, dtype="int8"),),
        {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]},
        opset=12,
        onnxruntime=True,
    ),
    "maxpool-1d": ort("MaxPool", VECTOR, kernel_shape=[3], strides=[2]),
    "averagepool-3d": ort("AveragePool", VOLUME, kernel_shape=[2, 3, 2], pads=[1, 1, 0, 0, 1, 1]),
    **{f"lppool-{p}": ort("LpPool", IMAGE, kernel_shape=[3, 2], p=p) for p in (1, 2, 3)},
    **{
        f"{op.lower()}-{i}": ort(op, x)
        for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
        for i, x in enumerate((IMAGE, VECTOR, VOLUME))
    },
    # Linear algebra.
    **{
        f"matmul-{list(left)}-{list(right)}": NodeCase(
            "MatMul", (floats(*left), floats(*right, seed=1)), opset=13, rtol=1e-4
        )
        for left, right in (
            ((3, 4), (4, 5)),
            ((4,), (4, 5)),
            ((3, 4), (4,)),
            ((4,), (4,)),
            ((2, 3, 4), (4, 5)),
            ((2, 1, 3, 4), (7, 4, 5)),
            ((4,), (2, 4, 5)),
            ((2, 3, 4), (4,)),
        )
    },
    "matmul-integers": NodeCase(
        "MatMul",
        (integers(-9, 9, 3, 4, dtype="int32"), integers(-9, 9, 4, 5, dtype="int32", seed=1)),
    ),
    **{
        f"gemm-{a}{b}-{list(c)}": ort(
            "Gemm",
            floats(*((4, 3) if a else (3, 4))),
            floats(*((5, 4) if b else (4, 5))),
            floats(*c),
            transA=a,
            transB=b,
            alpha=alpha,
            beta=beta,
        )
        for a in (0, 1)
        for b in (0, 1)
        for c, alpha, beta in (
            ((5,), 1.0, 1.0),
            ((1,), 0.5, 2.0),
            ((3, 1), 1.0, 0.5),
            ((3, 5), 2.0, 1.0),
        )
    },
    "gemm-without-c": ort("Gemm", floats(3, 4), floats(4, 5), alpha=0.25),
    "gemm-7": ort("Gemm", floats(3, 4), floats(5, 4), floats(5), transB=1, opset=7),
    "gemm-at-run-time": NodeCase(
        "Gemm", (floats(3, 4), floats(4, 5), floats(5)), {"alpha": 0.5, "beta": 0.25}
    ),
    **{
        f"batch-normalization-{opset}-{len(shape)}": ort(
            "BatchNormalization",
            floats(*shape),
            floats(4),
            floats(4, seed=1),
            floats(4, seed=2),
            np.abs(floats(4, seed=3)),
            opset=opset,
            epsilon=1e-3,
        )
        for opset in (7, 9, 14, 15)
        for shape in ((2, 4), (2, 4, 5), (2, 4, 3, 5))
    },
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_oracle(name: str) -> None:
    CASES[name].check()


REFUSED = {
    "conv-of-a-matrix": NodeCase("Conv", (floats(4, 4), floats(4, 4))),
    "conv-bias-of-other-length": ort("Conv", IMAGE, floats(6, 4, 3, 3), floats(5)),
    "conv-of-other-depth": ort("Conv", IMAGE, floats(6, 3, 3, 3)),
    "deconv-negative-pads": ort("ConvTranspose", IMAGE, floats(4, 3, 3, 3), pads=[-1, 0, 0, 0]),
    "batch-normalization-training": NodeCase(
        "BatchNormalization", (IMAGE, *[floats(4)] * 4), {"training_mode": 1}
    ),
    "batch-normalization-of-other-depth": NodeCase("BatchNormalization", (IMAGE, *[floats(5)] * 4)),
    "gemm-bias-widens": NodeCase("Gemm", (floats(3, 4), floats(4, 5), floats(2, 3, 5))),
    "global-pool-of-a-matrix": NodeCase("GlobalAveragePool", (floats(2, 3),)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    REFUSED[name].check_refused()


def test_weights_reach_the_conv_as_a_constant_in_its_layout() -> None:
    graph = CASES["conv-bias"].graph()
    (conv,) = (op for op in graph.ops if isinstance(op.kind, Conv))
    weights = graph.producers()[conv.inputs[1]]
    assert isinstance(weights.kind, Constant)
    assert weights.result.type.shape == (3, 3, 4, 6)


def test_batch_normalization_is_one_multiplication_and_one_addition() -> None:
    graph = CASES["batch-normalization-15-4"].graph()
    kinds = [op.kind.mnemonic for op in graph.ops if not isinstance(op.kind, Constant)]
    assert kinds == ["mul", "add"]
