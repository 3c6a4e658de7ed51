"""Small quantized ONNX models for the tests of verification and of measurements."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.ir.tensor import Array

NUM_CLASSES = 5
INPUT_SCALE = 0.05


def _initializer(name: str, array: NDArray[np.generic]) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def qdq_model(dtype: type[np.generic] = np.int8, *, softmax: bool = False) -> onnx.ModelProto:
    """conv, relu, conv, pool, linear with quantized activations; `softmax` at the end is float.

    Input `x` f32[1, 3, 12, 12], output `y` f32[1, 5].
    """
    rng = np.random.default_rng(5)
    zero = 3 if dtype is np.int8 else 131
    least = -128 if dtype is np.int8 else 0
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def quantize(name: str, scale: float, zero: int = zero) -> str:
        tensors.append(_initializer(f"{name}_s", np.array(scale, np.float32)))
        tensors.append(_initializer(f"{name}_z", np.array(zero, dtype)))
        parameters = [f"{name}_s", f"{name}_z"]
        nodes.append(
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"], f"q_{name}")
        )
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_d"], f"dq_{name}"
            )
        )
        return f"{name}_d"

    def weights(name: str, shape: tuple[int, ...]) -> str:
        tensors.append(_initializer(f"{name}_q", rng.integers(-127, 128, shape).astype(np.int8)))
        tensors.append(_initializer(f"{name}_s", np.array(0.01, np.float32)))
        tensors.append(_initializer(f"{name}_z", np.array(0, np.int8)))
        operands = [f"{name}_q", f"{name}_s", f"{name}_z"]
        nodes.append(helper.make_node("DequantizeLinear", operands, [f"{name}_d"], f"dq_{name}"))
        return f"{name}_d"

    x = quantize("x", INPUT_SCALE)
    nodes.append(helper.make_node("Conv", [x, weights("w1", (8, 3, 3, 3))], ["c1"], "conv_1"))
    nodes.append(helper.make_node("Relu", ["c1"], ["r1"], "relu_1"))
    a1 = quantize("r1", 0.1, least)  # else no runtime fuses the relu
    nodes.append(helper.make_node("Conv", [a1, weights("w2", (8, 8, 3, 3))], ["c2"], "conv_2"))
    a2 = quantize("c2", 0.4)
    nodes.append(helper.make_node("GlobalAveragePool", [a2], ["p"], "pool"))
    a3 = quantize("p", 0.05)
    nodes.append(helper.make_node("Flatten", [a3], ["flat"], "flatten"))
    nodes.append(
        helper.make_node("MatMul", ["flat", weights("w3", (8, NUM_CLASSES))], ["m"], "linear")
    )
    last = quantize("m", 0.1)
    if softmax:
        nodes.append(helper.make_node("Softmax", [last], ["y"], "softmax", axis=-1))
    else:
        nodes[-1].output[0] = "y"
    return _model(nodes, tensors)


def operators_model() -> onnx.ModelProto:
    """One QLinearMatMul between a quantizer and a dequantizer; input `x` f32[1, 16]."""
    rng = np.random.default_rng(6)
    tensors = [
        _initializer("s", np.array(INPUT_SCALE, np.float32)),
        _initializer("z", np.array(0, np.int8)),
        _initializer("w", rng.integers(-127, 128, (16, NUM_CLASSES)).astype(np.int8)),
        _initializer("t", np.array(0.2, np.float32)),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_q"], "q_x"),
        helper.make_node(
            "QLinearMatMul", ["x_q", "s", "z", "w", "s", "z", "t", "z"], ["m_q"], "linear"
        ),
        helper.make_node("DequantizeLinear", ["m_q", "t", "z"], ["y"], "dq_y"),
    ]
    return _model(nodes, tensors, (1, 16))


def _model(
    nodes: list[onnx.NodeProto],
    tensors: list[onnx.TensorProto],
    shape: tuple[int, ...] = (1, 3, 12, 12),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, NUM_CLASSES))],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def inputs(number: int, shape: tuple[int, ...] = (1, 3, 12, 12)) -> list[dict[str, Array]]:
    """Samples for `x`."""
    rng = np.random.default_rng(7)
    return [{"x": rng.uniform(-6, 6, shape).astype(np.float32)} for _ in range(number)]
