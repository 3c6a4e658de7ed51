"""Activations of 16 and of 4 bits: operators one by one, without floats, a step or less off ORT."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.fixed_point import divided, interpolated
from lepton_cc.ir.ops.wide_functions import InterpolatedTable, WideSoftmax
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from lepton_cc.passes.quantize.wide_functions import straight_lines
from tests.passes.quantize.test_quantizer import RAISE

RNG = np.random.default_rng(0)
SHAPE = (1, 6, 9, 8)


@dataclass(frozen=True, slots=True)
class Width:
    """Type, zero points and scales of the activations before and after an operator."""

    dtype: DTypeLike
    zero_points: tuple[int, int]
    scales: tuple[float, float]


WIDTHS = {
    "int16": Width(np.int16, (5, -7), (1 / 4096, 1 / 3000)),
    "uint16": Width(np.uint16, (33000, 30000), (1 / 4096, 1 / 3000)),
    "uint16 from 0": Width(np.uint16, (0, 0), (1 / 8192, 1 / 6000)),
    "int4": Width(ml_dtypes.int4, (1, -1), (0.4, 0.5)),
    "uint4": Width(ml_dtypes.uint4, (8, 7), (0.4, 0.5)),
}


@dataclass(frozen=True, slots=True)
class Case:
    """Nodes from `a` (and `b`) to `c`, and constants; `off` is the largest share off by a step."""

    nodes: Sequence[onnx.NodeProto]
    constants: dict[str, Array] = field(default_factory=dict)
    off: float = 0.01


def _one(op: str, *inputs: str, off: float = 0.01, **attributes: object) -> Case:
    node = helper.make_node(op, ["a", *inputs], ["c"])
    node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    return Case((node,), off=off)


def _weighted(op: str, *shape: int, scale: float) -> Case:
    weights = RNG.integers(-127, 128, shape).astype(np.int8)
    nodes = (
        helper.make_node("DequantizeLinear", ["w", "ws"], ["wd"]),
        helper.make_node(op, ["a", "wd"], ["c"]),
    )
    return Case(nodes, {"w": weights, "ws": np.asarray(scale, np.float32)})


def _with_bias(product: Case, channels: int) -> Case:
    """The product, and behind it the sum with integers for each channel, of rank 2."""
    bias = RNG.integers(-5000, 5000, (1, channels)).astype(np.int32)
    node = helper.make_node(product.nodes[1].op_type, ["a", "wd"], ["m"])
    nodes = (
        product.nodes[0],
        helper.make_node("DequantizeLinear", ["k", "ks"], ["kd"], axis=1),
        node,
        helper.make_node("Add", ["m", "kd"], ["c"]),
    )
    steps = np.full(channels, 2e-6, np.float32) * np.arange(1, channels + 1, dtype=np.float32)
    return Case(nodes, {**product.constants, "k": bias, "ks": steps})


def _of_scalar(op: str, number: float) -> Case:
    return Case((helper.make_node(op, ["a", "k"], ["c"]),), {"k": np.asarray(number, np.float32)})


CASES = {
    "conv": _weighted("Conv", 4, 6, 3, 3, scale=0.005),
    "matmul": _weighted("MatMul", 8, 5, scale=0.01),
    "matmul and bias": _with_bias(_weighted("MatMul", 8, 5, scale=0.01), 5),
    "product of activations": Case(
        (
            helper.make_node("Transpose", ["b"], ["bt"], perm=[0, 1, 3, 2]),
            helper.make_node("MatMul", ["a", "bt"], ["c"]),
        )
    ),
    "add": _one("Add", "b"),
    "sub": _one("Sub", "b"),
    "mul": _one("Mul", "b"),
    "relu": _one("Relu"),
    "average pool": _one("AveragePool", kernel_shape=[2, 2]),
    "global average pool": _one("GlobalAveragePool"),
    "max pool": _one("MaxPool", kernel_shape=[2, 2]),
    "concat": _one("Concat", "b", axis=1),
    "softmax": _one("Softmax", axis=-1),
    # Straight lines.
    "sigmoid": _one("Sigmoid", off=0.05),
    "tanh": _one("Tanh", off=0.05),
    "gelu": _one("Gelu", off=0.05),
    "square, saturated": Case(
        (helper.make_node("Pow", ["a", "k"], ["p"]), helper.make_node("Mul", ["p", "l"], ["c"])),
        {"k": np.asarray(2, np.float32), "l": np.asarray(40, np.float32)},
        off=0.2,
    ),
    "scaled": Case(_of_scalar("Mul", 0.37).nodes, _of_scalar("Mul", 0.37).constants, off=0.05),
}
UNARY = ("sigmoid", "tanh", "gelu", "scaled")


def _model(case: Case, width: Width) -> onnx.ModelProto:
    kind = np.dtype(width.dtype)
    constants = dict(case.constants)
    nodes = []
    inputs = ["x"] if all("b" not in node.input for node in case.nodes) else ["x", "w2"]
    for number, (name, to) in enumerate(zip(inputs, "ab", strict=False)):
        scale = width.scales[0] * (1, 0.7)[number]
        constants |= {
            f"{to}s": np.asarray(scale, np.float32),
            f"{to}z": np.asarray(width.zero_points[0] + number).astype(kind),
        }
        parameters = [f"{to}s", f"{to}z"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], [f"{to}q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{to}q", *parameters], [to]))
    constants |= {
        "t": np.asarray(width.scales[1], np.float32),
        "u": np.asarray(width.zero_points[1]).astype(kind),
    }
    nodes += [
        *case.nodes,
        helper.make_node("QuantizeLinear", ["c", "t", "u"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "t", "u"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "widths",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    version = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[version], ir_version=10)


def _inputs(model: onnx.ModelProto) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    names = [value.name for value in model.graph.input]
    return {name: rng.standard_normal(SHAPE).astype(np.float32) for name in names}


def _unoptimized(model: onnx.ModelProto, inputs: dict[str, Array]) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(None, inputs)[0])


def _raised(model: onnx.ModelProto) -> Graph:
    return PassManager(RAISE).run(import_model(model))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", CASES)
def test_has_no_floats_and_equals_onnxruntime_within_a_step(name: str, width: str) -> None:
    case, given = CASES[name], WIDTHS[width]
    model = _model(case, given)
    graph = _raised(model)
    assert not float_ops(graph)
    inputs = _inputs(model)
    want, got = _unoptimized(model, inputs), interpret(graph, inputs)["y"]
    steps = np.abs(np.rint((got - want) / np.float32(given.scales[1])))
    assert steps.max() <= 1
    assert np.mean(steps) <= case.off


def test_functions_of_words_are_straight_lines_and_softmax_is_integer() -> None:
    for name in (*UNARY, "softmax"):
        kinds = [type(op.kind) for op in _raised(_model(CASES[name], WIDTHS["int16"])).ops]
        assert (WideSoftmax if name == "softmax" else InterpolatedTable) in kinds


def test_lines_meet_both_ends_and_stay_within_a_step() -> None:
    x = np.arange(1 << 16)
    reals = 30000 * np.tanh((x - 32768) / 9000)
    values = np.rint(reals).astype(np.int64)
    entries = straight_lines(values, np.rint(reals * 256).astype(np.int64), -32768, 32767)
    assert entries is not None
    bits = 16 - (len(entries) - 1).bit_length() + 1
    off = np.abs(divided(interpolated(entries, x, bits), 8) - values)
    assert off.max() <= 1
    assert np.mean(off) <= 0.01


def test_corners_are_no_lines() -> None:
    # Far from the ends of an interval; a step in the middle of one.
    x = np.arange(1 << 16)
    for values in (np.abs(x - 32771) * 4 % 32768, np.where(x < 12345, 0, 20000)):
        assert straight_lines(values, values * 256, 0, 65535) is None


def test_saturation_makes_no_corners() -> None:
    free = (np.arange(1 << 16) - 32768) * 5
    values = np.clip(free, -32768, 32767)
    assert straight_lines(values, values * 256, -32768, 32767) is None
    entries = straight_lines(values, free * 256, -32768, 32767)
    assert entries is not None
    assert len(entries) == 17


def test_deep_convolution_is_split_into_bytes() -> None:
    """|w| sums to 255,000: too much for 16 bits of x in i32, not for 8."""
    weights = np.full((2, 224, 3, 3), 127, np.int8)
    weights[:, ::2] = -126
    case = Case(
        (
            helper.make_node("DequantizeLinear", ["w", "ws"], ["wd"]),
            helper.make_node("Conv", ["x4", "wd", "f"], ["c"]),
        ),
        {
            "w": weights,
            "ws": np.asarray(1e-4, np.float32),
            "f": np.array([0.5, -0.25], np.float32),
        },
    )
    grown = helper.make_node("Concat", ["a"] * 38, ["many"], axis=1)
    cut = helper.make_node("Slice", ["many", "begin", "end", "axis"], ["x4"])
    constants = {
        **case.constants,
        "begin": np.array([0]),
        "end": np.array([224]),
        "axis": np.array([1]),
    }
    model = _model(Case((grown, cut, *case.nodes), constants), WIDTHS["int16"])
    graph = _raised(model)
    assert not float_ops(graph)
    assert sum(isinstance(op.kind, Conv) for op in graph.ops) == 2
    inputs = _inputs(model)
    want, got = _unoptimized(model, inputs), interpret(graph, inputs)["y"]
    assert np.abs(np.rint((got - want) / np.float32(WIDTHS["int16"].scales[1]))).max() <= 1
