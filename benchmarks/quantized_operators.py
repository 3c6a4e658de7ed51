"""Single quantized operators as ONNX models, with random scales: QDQ form and QLinear form.

`compare_onnxruntime` runs both through ONNX Runtime and our interpreter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
Byte = type[np.int8] | type[np.uint8]
_MICROSOFT = "com.microsoft"
_OPSETS = (helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1))


@dataclass(frozen=True, slots=True)
class Case:
    """One draw of an operator: x -> y in 8-bit integers, in both forms, and its inputs."""

    qdq: onnx.ModelProto
    qlinear: onnx.ModelProto | None
    feeds: dict[str, Array]


@dataclass(slots=True)
class _Graph:
    """A graph under construction."""

    rng: np.random.Generator
    dtype: Byte
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    feeds: dict[str, Array] = field(default_factory=dict)

    def store(self, name: str, array: Array | np.generic) -> str:
        self.stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        domain = _MICROSOFT if op_type in _OWN_OPERATORS else ""
        made = helper.make_node(op_type, inputs, [output], output, None, domain, None, **attributes)
        self.nodes.append(made)
        return output

    def bytes(self, *shape: int) -> Array:
        info = np.iinfo(self.dtype)
        return self.rng.integers(info.min, info.max, shape, endpoint=True).astype(self.dtype)

    def activation(self, name: str, *shape: int) -> tuple[str, str, str]:
        """A graph input with its scale and zero point."""
        self.feeds[name] = self.bytes(*shape)
        return (name, *self.parameters(name, self.scale(0.002, 0.1)))

    def parameters(self, name: str, scale: np.float32) -> tuple[str, str]:
        return self.store(f"{name}_s", scale), self.store(f"{name}_z", self.bytes().reshape(()))

    def scale(self, low: float, high: float) -> np.float32:
        """Log-uniform; a power of two in one draw of four, where ties are frequent."""
        exponent = self.rng.uniform(np.log2(low), np.log2(high))
        return np.float32(2.0 ** (round(exponent) if self.rng.random() < 0.25 else exponent))

    def dequantize(self, x: Sequence[str], **attributes: int) -> str:
        return self.node("DequantizeLinear", [*x], f"{x[0]}_real", **attributes)

    def model(self, shape_rank: int) -> onnx.ModelProto:
        number = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        inputs = [
            helper.make_tensor_value_info(name, number, array.shape)
            for name, array in self.feeds.items()
        ]
        output = helper.make_tensor_value_info("y", number, [None] * shape_rank)
        graph = helper.make_graph(self.nodes, "operator", inputs, [output], self.stored)
        return helper.make_model(graph, opset_imports=_OPSETS, ir_version=10)


_OWN_OPERATORS = frozenset(
    {
        "QLinearAdd",
        "QLinearMul",
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "QLinearSigmoid",
        "QLinearLeakyRelu",
        "QLinearSoftmax",
        "QLinearConcat",
        "QGemm",
    }
)
_Make = Callable[[np.random.Generator, Byte], Case]


def _finish(qdq: _Graph, qlinear: _Graph | None, rank: int) -> Case:
    second = None if qlinear is None else qlinear.model(rank)
    return Case(qdq.model(rank), second, qdq.feeds)


def _output(graph: _Graph, real: str, parameters: Sequence[str]) -> None:
    graph.node("QuantizeLinear", [real, *parameters], "y")


def _twin(graph: _Graph) -> _Graph:
    return _Graph(graph.rng, graph.dtype, [], list(graph.stored), graph.feeds)


def _weights(graph: _Graph, shape: tuple[int, ...], x_scale: np.float32) -> tuple[Array, ...]:
    """int8 weights, a scale for each output (axis 0), an i32 bias and its scale."""
    weights = graph.rng.integers(-127, 128, shape).astype(np.int8)
    scales = np.array([graph.scale(0.0005, 0.02) for _ in range(shape[0])], np.float32)
    bias = graph.rng.integers(-20000, 20000, shape[0]).astype(np.int32)
    return weights, scales, bias, (x_scale * scales).astype(np.float32)


def _stored(graph: _Graph, name: str) -> Array:
    return next(numpy_helper.to_array(t) for t in graph.stored if t.name == name)


def _spread(graph: _Graph, x_scale: Array, scales: Array, depth: int) -> np.float32:
    """An output scale for which most results are inside of the range."""
    deviation = float(x_scale) * float(np.median(scales)) * 74 * 74 * depth**0.5
    return np.float32(deviation / 50 * graph.rng.uniform(0.5, 2))


def convolution(
    shape: tuple[int, ...], weights_shape: tuple[int, ...], **attributes: object
) -> _Make:
    """Conv with scales for each channel and an i32 bias, against QLinearConv."""

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        x = graph.activation("x", *shape)
        weights, scales, bias, step = _weights(
            graph, weights_shape, np.float32(_stored(graph, "x_s"))
        )
        w = (
            graph.store("w", weights),
            graph.store("w_s", scales),
            graph.store("w_z", np.zeros(len(scales), np.int8)),
        )
        b = graph.store("b", bias)
        depth = int(np.prod(weights_shape[1:]))
        y = graph.parameters("y", _spread(graph, _stored(graph, "x_s"), scales, depth))
        qlinear = _twin(graph)
        qlinear.node("QLinearConv", [*x, *w, *y, b], "y", **attributes)
        b_real = graph.dequantize((b, graph.store("b_s", step)), axis=0)
        operands = [graph.dequantize(x), graph.dequantize(w, axis=0), b_real]
        _output(graph, graph.node("Conv", operands, "real", **attributes), y)
        return _finish(graph, qlinear, len(shape))

    return make


def product(rows: int, depth: int, columns: int) -> _Make:
    """MatMul by constant weights, against QLinearMatMul."""

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        x = graph.activation("x", rows, depth)
        weights, scales, _, _ = _weights(graph, (columns, depth), np.float32(1))
        w = (
            graph.store("w", np.ascontiguousarray(weights.T)),
            graph.store("w_s", scales[0]),
            graph.store("w_z", np.int8(0)),
        )
        y = graph.parameters("y", _spread(graph, _stored(graph, "x_s"), scales[:1], depth))
        qlinear = _twin(graph)
        qlinear.node("QLinearMatMul", [*x, *w, *y], "y")
        operands = [graph.dequantize(x), graph.dequantize(w)]
        _output(graph, graph.node("MatMul", operands, "real"), y)
        return _finish(graph, qlinear, 2)

    return make


def gemm(rows: int, depth: int, columns: int) -> _Make:
    """Gemm by constant weights with an i32 bias, against QGemm."""

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        x = graph.activation("x", rows, depth)
        x_scale = _stored(graph, "x_s")
        weights, scales, bias, step = _weights(graph, (columns, depth), np.float32(x_scale))
        w = (
            graph.store("w", weights),
            graph.store("w_s", scales[0]),
            graph.store("w_z", np.int8(0)),
        )
        b = graph.store("b", bias)
        y = graph.parameters("y", _spread(graph, x_scale, scales[:1], depth))
        qlinear = _twin(graph)
        qlinear.node("QGemm", [*x, *w, b, *y], "y", transB=1)
        b_real = graph.dequantize((b, graph.store("b_s", step[0])))
        operands = [graph.dequantize(x), graph.dequantize(w), b_real]
        _output(graph, graph.node("Gemm", operands, "real", transB=1), y)
        return _finish(graph, qlinear, 2)

    return make


def binary(op_type: str, lhs: tuple[int, ...], rhs: tuple[int, ...], spread: float) -> _Make:
    """Add, Sub or Mul of two activations, against QLinearAdd or QLinearMul."""

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        a, b = graph.activation("a", *lhs), graph.activation("b", *rhs)
        factor = np.float32(rng.uniform(0.4, 1.5) * spread)
        larger = max(_stored(graph, "a_s"), _stored(graph, "b_s"))
        whole = _stored(graph, "a_s") * _stored(graph, "b_s")
        base = whole if op_type == "Mul" else larger
        y = graph.parameters("y", np.float32(base * factor))
        name = f"QLinear{op_type}"
        qlinear = _twin(graph) if name in _OWN_OPERATORS else None
        if qlinear is not None:
            qlinear.node(name, [*a, *b, *y], "y")
        operands = [graph.dequantize(a), graph.dequantize(b)]
        _output(graph, graph.node(op_type, operands, "real"), y)
        return _finish(graph, qlinear, max(len(lhs), len(rhs)))

    return make


def unary(
    op_type: str,
    shape: tuple[int, ...],
    span: tuple[float, float] | None = None,
    own: dict[str, object] | None = None,
    *,
    kept: bool = False,
    **attributes: object,
) -> _Make:
    """A function of one activation, against QLinear<op> where there is one.

    `span` bounds the output scale; without it the input's is kept, or scaled a little. `kept`
    takes the input's scale and zero point for the output.
    """

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        x = graph.activation("x", *shape)
        if span is None:
            scale = np.float32(_stored(graph, "x_s") * rng.choice([1, rng.uniform(0.3, 1.5)]))
        else:
            scale = graph.scale(*span)
        y = x[1:] if kept else graph.parameters("y", scale)
        name = f"QLinear{op_type}"
        qlinear = _twin(graph) if name in _OWN_OPERATORS else None
        if qlinear is not None:
            qlinear.node(name, [*x, *y], "y", **(attributes if own is None else own))
        _output(graph, graph.node(op_type, [graph.dequantize(x)], "real", **attributes), y)
        return _finish(graph, qlinear, len(shape))

    return make


def concat(shape: tuple[int, ...]) -> _Make:
    """Concat of two activations with their own scales, against QLinearConcat."""

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        a, b = graph.activation("a", *shape), graph.activation("b", *shape)
        y = graph.parameters("y", np.float32(_stored(graph, "a_s") * rng.uniform(0.5, 2)))
        qlinear = _twin(graph)
        qlinear.node("QLinearConcat", [*y, *a, *b], "y", axis=1)
        operands = [graph.dequantize(a), graph.dequantize(b)]
        _output(graph, graph.node("Concat", operands, "real", axis=1), y)
        return _finish(graph, qlinear, len(shape))

    return make


def requantization(shape: tuple[int, ...]) -> _Make:
    """From one scale to another."""

    def make(rng: np.random.Generator, dtype: Byte) -> Case:
        graph = _Graph(rng, dtype)
        x = graph.activation("x", *shape)
        y = graph.parameters("y", np.float32(_stored(graph, "x_s") * rng.uniform(0.5, 2)))
        _output(graph, graph.dequantize(x), y)
        return _finish(graph, None, len(shape))

    return make


_SOFTMAX = (1 / 300, 1 / 200)
CASES: dict[str, _Make] = {
    "conv 3x3": convolution((1, 16, 34, 34), (32, 16, 3, 3), pads=[1, 1, 1, 1]),
    "conv 1x1": convolution((1, 64, 24, 24), (64, 64, 1, 1)),
    "conv depthwise": convolution((1, 64, 26, 26), (64, 1, 3, 3), group=64, strides=[1, 1]),
    "matmul": product(200, 96, 256),
    "gemm": gemm(200, 96, 256),
    "add": binary("Add", (1, 16, 56, 56), (1, 16, 56, 56), 2),
    "add, broadcast lhs": binary("Add", (1, 16, 1, 1), (1, 16, 56, 56), 2),
    "add, scalar rhs": binary("Add", (1, 16, 56, 56), (1,), 2),
    "sub": binary("Sub", (1, 16, 56, 56), (1, 16, 56, 56), 2),
    "mul": binary("Mul", (1, 16, 56, 56), (1, 16, 56, 56), 80),
    "mul, broadcast rhs": binary("Mul", (1, 16, 56, 56), (1, 16, 1, 1), 80),
    "global average pool": unary("GlobalAveragePool", (32, 1600, 7, 7)),
    "average pool 2x2": unary("AveragePool", (1, 64, 56, 56), kernel_shape=[2, 2], strides=[2, 2]),
    "average pool 3x3, padded": unary(
        "AveragePool", (1, 16, 56, 56), kernel_shape=[3, 3], pads=[1, 1, 1, 1]
    ),
    "max pool": unary("MaxPool", (1, 16, 56, 56), kept=True, kernel_shape=[3, 3], strides=[1, 1]),
    "max pool, rescaled": unary("MaxPool", (1, 64, 56, 56), kernel_shape=[3, 3], strides=[2, 2]),
    "sigmoid": unary("Sigmoid", (51200,), (1 / 300, 1 / 120)),
    "leaky relu": unary("LeakyRelu", (51200,), alpha=0.1),
    "tanh": unary("Tanh", (51200,), (1 / 130, 1 / 60)),
    "hard swish": unary("HardSwish", (51200,)),
    "relu": unary("Relu", (51200,)),
    "elu": unary("Elu", (51200,)),
    "requantize": requantization((51200,)),
    "concat": concat((1, 32, 28, 28)),
    "softmax of 10": unary("Softmax", (5120, 10), _SOFTMAX, {"axis": -1, "opset": 13}, axis=-1),
    "softmax of 1000": unary(
        "Softmax", (52, 1000), (1 / 3000, 1 / 400), {"axis": -1, "opset": 13}, axis=-1
    ),
}
