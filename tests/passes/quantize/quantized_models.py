"""Small float networks, quantized by ONNX Runtime's own quantizer in all of its formats."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from lepton_cc.ir.tensor import Array


class Network:
    """A float model of opset 17 under construction: input `x`, output `y`."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.shape = shape
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self.output = ""

    def weight(self, *shape: int, scale: float = 0.3) -> str:
        """A normal constant."""
        return self.constant((self._rng.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, array: Array | np.float32) -> str:
        """A constant."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op_type: str, *inputs: str, **attributes: object) -> str:
        """A node with one output, which it gives."""
        return self.nodes(op_type, *inputs, count=1, **attributes)[0]

    def nodes(self, op_type: str, *inputs: str, count: int, **attributes: object) -> list[str]:
        """A node with several outputs."""
        outputs = [f"v{len(self._nodes)}_{i}" for i in range(count)]
        name = f"{op_type}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(op_type, inputs, outputs, name, None, None, None, **attributes)
        )
        return outputs

    def model(self, y: str) -> onnx.ModelProto:
        """The model that gives `y`."""
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [y], ["y"], "last")],
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            self._weights,
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Normally distributed inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._batches: Iterator[Array] = iter(inputs(shape, 8))

    def get_next(self) -> dict[str, Array] | None:
        """The next batch by input name."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def inputs(shape: tuple[int, ...], count: int, seed: int = 1) -> list[Array]:
    """Normally distributed inputs of a network."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the quantizer is asked to quantize."""

    format: QuantFormat
    activations: QuantType
    weights: QuantType
    per_channel: bool = True
    symmetric_weights: bool = True

    def quantize(self, network: onnx.ModelProto, shape: tuple[int, ...], folder: Path) -> Path:
        """The path of the quantized model."""
        logging.getLogger().setLevel(logging.ERROR)
        source, target = folder / "float.onnx", folder / "quantized.onnx"
        onnx.save(network, source)
        quantize_static(
            str(source),
            str(target),
            Calibration(shape),
            quant_format=self.format,
            per_channel=self.per_channel,
            activation_type=self.activations,
            weight_type=self.weights,
            extra_options={"WeightSymmetric": self.symmetric_weights},
        )
        return target


SCHEMES = {
    "qdq-s8": Scheme(QuantFormat.QDQ, QuantType.QInt8, QuantType.QInt8),
    "qdq-u8": Scheme(QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8),
    "qdq-u8u8": Scheme(QuantFormat.QDQ, QuantType.QUInt8, QuantType.QUInt8, False, False),
    "qoperator-s8": Scheme(QuantFormat.QOperator, QuantType.QInt8, QuantType.QInt8),
    "qoperator-u8": Scheme(QuantFormat.QOperator, QuantType.QUInt8, QuantType.QInt8),
    "qoperator-u8u8": Scheme(
        QuantFormat.QOperator, QuantType.QUInt8, QuantType.QUInt8, False, False
    ),
}


def residual_network() -> Network:
    """Convolutions with relu, a residual sum, pools, a product, softmax."""
    net = Network((1, 3, 16, 16))
    x = net.node("Conv", "x", net.weight(8, 3, 3, 3), net.weight(8), pads=[1] * 4)
    x = net.node("Relu", x)
    y = net.node("Conv", x, net.weight(8, 1, 3, 3), net.weight(8), pads=[1] * 4, group=8)
    y = net.node("Clip", y, net.constant(np.float32(0)), net.constant(np.float32(6)))
    y = net.node("Conv", y, net.weight(8, 8, 1, 1), net.weight(8))
    x = net.node("Add", x, y)
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Conv", x, net.weight(12, 8, 3, 3), net.weight(12), strides=[2, 2])
    x = net.node("GlobalAveragePool", x)
    x = net.node("Flatten", x)
    x = net.node("Gemm", x, net.weight(10, 12), net.weight(10), transB=1)
    net.output = net.node("Softmax", x, axis=-1)
    return net


def activation_network() -> Network:
    """Functions of one tensor, gates, concatenation, average pools, padding, slices."""
    net = Network((1, 4, 12, 12), seed=1)
    x = net.node("Conv", "x", net.weight(8, 4, 3, 3), net.weight(8))
    gate = net.node("Sigmoid", x)
    x = net.node("Mul", x, gate)
    left, right = net.nodes("Split", x, net.constant(np.array([4, 4])), count=2, axis=1)
    left = net.node("LeakyRelu", left, alpha=0.1)
    right = net.node("AveragePool", right, kernel_shape=[3, 3], pads=[1] * 4)
    x = net.node("Concat", left, right, axis=1)
    x = net.node("Resize", x, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    x = net.node("Pad", x, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    x = net.node("Conv", x, net.weight(6, 8, 3, 3), net.weight(6), strides=[2, 2])
    net.output = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net


def attention_network() -> Network:
    """Products of activations, transposes, softmax, a dense layer without bias."""
    net = Network((1, 6, 16), seed=2)
    q, k, v = (net.node("MatMul", "x", net.weight(16, 16)) for _ in range(3))
    keys = net.node("Transpose", k, perm=[0, 2, 1])
    scores = net.node("Softmax", net.node("MatMul", q, keys), axis=-1)
    x = net.node("MatMul", scores, v)
    x = net.node("Add", x, "x")
    x = net.node("Relu", net.node("MatMul", x, net.weight(16, 32)))
    net.output = net.node("MatMul", x, net.weight(32, 4))
    return net


NETWORKS = {
    "residual": residual_network,
    "activation": activation_network,
    "attention": attention_network,
}


def model_of(network: Network) -> onnx.ModelProto:
    """The float model."""
    return network.model(network.output)


def names(schemes: Sequence[str] = tuple(SCHEMES)) -> list[tuple[str, str]]:
    """Every network in every scheme."""
    return [(network, scheme) for network in NETWORKS for scheme in schemes]
