"""Quantized layer norms and RMS norms: integers alone, within a step of the float graph and ORT."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.fixed_point import divided, square_root
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from lepton_cc.passes.quantize.norms import precision
from tests.passes.quantize.test_quantizer import RAISE

# Of input and output; 16-bit ones are 256 times finer.
SCALES = np.float32(0.05), np.float32(0.03)
ZERO_POINTS = {np.int8: (3, -5), np.uint8: (120, 130), np.int16: (9, -7), np.uint16: (33000, 32000)}
NORM = "LayerNormalization"
RMS = "RMSNormalization"


def _sample(*shape: int) -> Array:
    """Rows of usual spread, of little, and of none."""
    x = np.random.default_rng(shape[-1]).normal(size=shape) * 2
    x[::7] *= 0.02
    x[::11] = 0.3
    return x.astype(np.float32)


def _spelled_out(epsilon: str) -> list[onnx.NodeProto]:
    """As exporters write it for opsets below 17."""
    return [
        helper.make_node("ReduceMean", ["a"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["a", "mean"], ["d"]),
        helper.make_node("Pow", ["d", "two"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["variance"], axes=[-1]),
        helper.make_node("Add", ["variance", epsilon], ["shifted"]),
        helper.make_node("Sqrt", ["shifted"], ["root"]),
        helper.make_node("Div", ["d", "root"], ["n"]),
        helper.make_node("Mul", ["n", "g"], ["scaled"]),
        helper.make_node("Add", ["scaled", "b"], ["c"]),
    ]


def _model(op: str, dtype: DTypeLike, x: Array) -> onnx.ModelProto:
    """quantize, dequantize, the norm, quantize, dequantize."""
    rng = np.random.default_rng(0)
    size, kind = x.shape[-1], np.dtype(dtype).type
    points = ZERO_POINTS[kind]
    scales = np.array(SCALES, np.float32) / np.float32(256 if np.dtype(kind).itemsize == 2 else 1)
    constants = {
        "s": np.asarray(scales[0], np.float32),
        "z": np.asarray(points[0], kind),
        "t": np.asarray(scales[1], np.float32),
        "u": np.asarray(points[1], kind),
        "g": np.asarray(rng.normal(size=size), np.float32),
        "b": np.asarray(rng.normal(size=size), np.float32),
        "two": np.asarray(2, np.float32),
        "epsilon": np.asarray(1e-5, np.float32),
    }
    parameters = ["g"] if op == RMS else ["g", "b"]
    norm = [helper.make_node(op, ["a", *parameters], ["c"], axis=-1, epsilon=1e-5)]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["aq"]),
        helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["a"]),
        *(_spelled_out("epsilon") if op == "spelled out" else norm),
        helper.make_node("QuantizeLinear", ["c", "t", "u"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "t", "u"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "norm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = {NORM: 21, RMS: 23}.get(op, 13)
    version = helper.make_opsetid("", opset)
    return helper.make_model(graph, opset_imports=[version], ir_version=10)


def _unoptimized(model: onnx.ModelProto, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("size", [1, 3, 64, 300])
@pytest.mark.parametrize(
    ("op", "dtype"),
    [
        *((op, dtype) for op in (NORM, RMS) for dtype in ZERO_POINTS),
        ("spelled out", np.int8),
        ("spelled out", np.uint8),
    ],
)
def test_equals_onnxruntime_within_a_step(op: str, dtype: DTypeLike, size: int) -> None:
    x = _sample(154, size)
    model = _model(op, dtype, x)
    graph = PassManager(RAISE).run(import_model(model))
    assert not float_ops(graph)
    assert any(isinstance(each.kind, QuantizedNorm) for each in graph.ops)
    fine = np.dtype(dtype).itemsize == 2
    scale = SCALES[1] / np.float32(256 if fine else 1)
    got, want = interpret(graph, {"x": x})["y"], _unoptimized(model, x)
    steps = np.abs(np.rint((got - want) / scale))
    assert steps.max() <= 1
    assert np.mean(steps) <= (2e-3 if fine else 5e-4)


@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 1e-3, 1.0, 1e9])
@pytest.mark.parametrize(("count", "largest"), [(1, 255), (2, 128), (4096, 255), (8191, 65535)])
def test_no_step_can_overflow(count: int, largest: int, epsilon: float) -> None:
    chosen = precision(count, largest, epsilon)
    assert chosen is not None
    assert (count * largest) ** 2 * 4**chosen.variance_bits + chosen.epsilon < 1 << 62
    # One element as far away as can be, or one step: the largest d for its root.
    for far in (1, largest):
        for total in (far, 0):
            variance = count * far**2 - total**2
            root = int(np.sqrt(float(variance * 4**chosen.variance_bits + chosen.epsilon)))
            product = (count * far - total) * ((1 << chosen.reciprocal_bits) // root)
            assert product <= 1 << 62
            assert product >> chosen.shift <= 1 << 30


def test_rows_beyond_64_bits_stay_float() -> None:
    assert precision(1 << 15, 65535, 1.0) is None
    assert precision(64, 255, float("inf")) is None


def test_roots_and_quotients_are_exact() -> None:
    rng = np.random.default_rng(1)
    roots = rng.integers(1, 1 << 31, 1000)
    for offset in (-1, 0, 1):
        x = roots * roots + offset
        found = square_root(x)
        assert np.all(found * found <= x)
        assert np.all((found + 1) * (found + 1) > x)
    np.testing.assert_array_equal(divided(np.array([-3, -1, 1, 3, 5, 6]), 1), [-2, 0, 0, 2, 2, 3])
