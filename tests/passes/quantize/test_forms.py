"""Odd forms of QDQ graphs: wide and narrow integers, asymmetric weights, resizing.

Each is raised completely and stays within one step of the float graph that it came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from tests.passes.quantize.test_quantizer import RAISE

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 6, 9, 8)).astype(np.float32)
IN, OUT = np.float32(0.03), np.float32(0.08)


@dataclass(frozen=True, slots=True)
class Form:
    """x quantized, through `nodes` (from `a` to `c`), quantized; constants by name."""

    nodes: Sequence[onnx.NodeProto]
    constants: dict[str, Array | np.generic]
    zero_points: tuple[np.generic, np.generic] = (np.int8(5), np.int8(-7))
    scales: tuple[np.float32, np.float32] = (IN, OUT)

    def graph(self) -> Graph:
        """The model imported, weights still under their DequantizeLinear."""
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["aq"]),
            helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["a"]),
            *self.nodes,
            helper.make_node("QuantizeLinear", ["c", "t", "u"], ["yq"]),
            helper.make_node("DequantizeLinear", ["yq", "t", "u"], ["y"]),
        ]
        fixed = dict(zip("stzu", (*self.scales, *self.zero_points), strict=True))
        stored = [
            numpy_helper.from_array(np.asarray(array), name)
            for name, array in {**fixed, **self.constants}.items()
        ]
        graph = helper.make_graph(
            nodes,
            "form",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            stored,
        )
        opset = helper.make_opsetid("", 21)
        return import_model(helper.make_model(graph, opset_imports=[opset], ir_version=10))


def _dequantize(name: str, *, zero_point: bool, axis: int = 0) -> onnx.NodeProto:
    operands = [name, f"{name}s", *([f"{name}z"] if zero_point else [])]
    return helper.make_node("DequantizeLinear", operands, [f"{name}d"], axis=axis)


def _conv(weights: Array, zero_points: Array | None = None, scale: float = 0.01) -> Form:
    constants: dict[str, Array | np.generic] = {
        "w": weights,
        "ws": np.full(weights.shape[0], scale, np.float32),
    }
    if zero_points is not None:
        constants["wz"] = zero_points
    nodes = (
        _dequantize("w", zero_point=zero_points is not None),
        helper.make_node("Conv", ["a", "wd"], ["c"]),
    )
    return Form(nodes, constants)


def _integers(low: int, high: int, dtype: DTypeLike, *shape: int) -> Array:
    return np.asarray(RNG.integers(low, high, shape).astype(np.dtype(dtype)))


def _transposed(groups: int) -> Form:
    scales = np.array([0.01, 0.02, 0.03, 0.005], np.float32)
    steps = np.tile(IN * scales, groups)
    nodes = (
        _dequantize("w", zero_point=False, axis=1),
        _dequantize("b", zero_point=False),
        helper.make_node("ConvTranspose", ["a", "wd", "bd"], ["c"], strides=[2, 2], group=groups),
    )
    weights = _integers(-127, 128, np.int8, 6, 4, 3, 3)
    bias = _integers(-500, 500, np.int32, 4 * groups)
    return Form(nodes, {"w": weights, "ws": scales, "b": bias, "bs": steps})


def _resize(mode: str, factors: tuple[float, float], **attributes: object) -> Form:
    node = helper.make_node("Resize", ["a", "", "f"], ["c"], mode=mode)
    node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    return Form((node,), {"f": np.array([1, 1, *factors], np.float32)}, scales=(IN, IN))


def _wide(dtype: type[np.integer], first: int, second: int) -> Form:
    weights = _integers(-127, 128, np.int8, 4, 6, 3, 3)
    form = _conv(weights, scale=0.001)
    scales = np.float32(0.0003), np.float32(0.0008)
    return Form(form.nodes, form.constants, (dtype(first), dtype(second)), scales)


FORMS = {
    "int4 weights": _conv(_integers(-8, 8, ml_dtypes.int4, 4, 6, 3, 3)),
    "uint4 weights": _conv(
        _integers(0, 16, ml_dtypes.uint4, 4, 6, 3, 3),
        np.array([8, 7, 0, 15]).astype(ml_dtypes.uint4),
    ),
    "uint8 weights": _conv(
        _integers(0, 256, np.uint8, 4, 6, 3, 3), np.array([128, 100, 0, 255], np.uint8), 0.002
    ),
    "int16 activations": _wide(np.int16, 5, -7),
    "uint16 activations": _wide(np.uint16, 30000, 32768),
    "transposed convolution": _transposed(1),
    "transposed convolution in groups": _transposed(2),
    "linear": _resize("linear", (2, 2)),
    "linear by odd factors": _resize("linear", (1.7, 3)),
    "linear, smaller": _resize("linear", (0.5, 0.5)),
    "linear, antialiased": _resize("linear", (0.5, 0.5), antialias=1),
    "cubic": _resize("cubic", (2, 2)),
    "nearest": _resize("nearest", (2, 2)),
}


@pytest.mark.parametrize("name", FORMS)
def test_is_raised_and_stays_within_a_step(name: str) -> None:
    form = FORMS[name]
    before = form.graph()
    after = PassManager(RAISE).run(before)
    assert not float_ops(after)
    want, got = (interpret(graph, {"x": X})["y"] for graph in (before, after))
    steps = np.abs(np.rint((got - want) / form.scales[1]))
    assert steps.max() <= 1
    # Equal scales make ties frequent when resizing.
    assert np.mean(steps) <= 0.05


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("int4 weights", DType.I4),
        ("uint4 weights", DType.I8),
        ("uint8 weights", DType.I16),
    ],
)
def test_weights_take_the_narrowest_type(name: str, dtype: DType) -> None:
    graph = PassManager(RAISE).run(FORMS[name].graph())
    conv = next(op for op in graph.ops if isinstance(op.kind, Conv))
    assert conv.inputs[1].type.dtype is dtype


def test_accumulator_that_could_overflow_stays_float() -> None:
    form = _wide(np.int16, 0, 0)
    weights = np.full((4, 6, 9, 8), 32767, np.int16)
    deep = Form(form.nodes, {**form.constants, "w": weights}, form.zero_points, form.scales)
    found = float_ops(PassManager(RAISE).run(deep.graph()))
    assert any("32 bits could overflow" in each.reason for each in found)
