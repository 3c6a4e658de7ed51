"""Quantized LSTM and GRU layers: integers alone, a step or less off ONNX Runtime's float cells."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.cell import SIGMOID, TANH, Activation, CellFunction
from lepton_cc.ir.ops.integer_scan import QuantizedGruScan, QuantizedLstmScan
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from lepton_cc.passes.quantize.recurrent import curve_of
from tests.passes.quantize.test_quantizer import RAISE

STEPS, BATCH, INPUTS, HIDDEN = 24, 3, 12, 20
# Of x and of h; 16-bit ones have steps of a 256th.
X_SCALE, H_SCALE, C_SCALE = 0.03, 1 / 127, 6 / 127
ZERO_POINTS = {np.int8: (3, 0), np.uint8: (120, 128), np.int16: (9, 0), np.uint16: (33000, 32768)}

Arrays = dict[str, Array]


@dataclass(slots=True)
class Layer:
    """A recurrent layer of quantized x, W, R, B and states, whose results are quantized."""

    op: str
    dtype: DTypeLike = np.int8
    direction: str = "forward"
    per_channel: bool = False
    has_state: bool = True
    has_bias: bool = True
    hidden: int = HIDDEN
    steps: int = STEPS
    attributes: dict[str, object] = field(default_factory=dict)
    weights_type: DTypeLike = np.int8

    nodes: list[onnx.NodeProto] = field(default_factory=list, init=False)
    constants: Arrays = field(default_factory=dict, init=False)
    scales: dict[str, float] = field(default_factory=dict, init=False)
    inputs: Arrays = field(default_factory=dict, init=False)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7), init=False)

    def _activation(self, name: str, to: str, scale: float, zero_point: int) -> None:
        kind = np.dtype(self.dtype)
        fine = 256 if kind.itemsize == 2 else 1
        self.scales[to] = scale / fine
        self.constants[f"{to}s"] = np.asarray(scale / fine, np.float32)
        self.constants[f"{to}z"] = np.asarray(zero_point, kind)
        parameters = [f"{to}s", f"{to}z"]
        self.nodes += [
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{to}q"]),
            helper.make_node("DequantizeLinear", [f"{to}q", *parameters], [to]),
        ]

    def _weights(self, name: str, reals: Array) -> None:
        kind = np.dtype(self.weights_type)
        axes = (0, 2) if self.per_channel and reals.ndim == 3 else None
        largest = np.abs(reals).max(axis=axes)
        scale = np.asarray(largest / np.iinfo(kind).max, np.float32)
        shaped = scale[:, None] if axes else scale
        self.constants[f"{name}q"] = np.asarray(np.rint(reals / shaped)).astype(kind)
        self.constants[f"{name}s"] = scale
        operands = [f"{name}q", f"{name}s"]
        self.nodes.append(helper.make_node("DequantizeLinear", operands, [name], axis=1))

    def model(self) -> onnx.ModelProto:
        """The model; `inputs` and `scales` of results are made on the way."""
        directions = 2 if self.direction == "bidirectional" else 1
        is_lstm, size = self.op == "LSTM", self.hidden
        columns = (4 if is_lstm else 3) * size
        x_point, h_point = ZERO_POINTS[np.dtype(self.dtype).type]
        self._activation("x", "a", X_SCALE, x_point)
        normal = self.rng.standard_normal
        self._weights("W", normal((directions, columns, INPUTS)) * 1.5 / INPUTS**0.5)
        self._weights("R", normal((directions, columns, size)) / size**0.5)
        operands = ["a", "W", "R", "", ""]
        if self.has_bias:
            self._weights("B", normal((directions, 2 * columns)) * 0.3)
            operands[3] = "B"
        self.inputs["x"] = normal((self.steps, BATCH, INPUTS)) * 1.2
        if self.has_state:
            for name, scale in (("h", H_SCALE), ("c", 4 / 127))[: 2 if is_lstm else 1]:
                self._activation(f"{name}0", name, scale, h_point)
                operands.append(name)
                drawn = normal((directions, BATCH, size)) * (0.4 if name == "h" else 1)
                self.inputs[f"{name}0"] = np.clip(drawn, -0.98, 0.98)
        results = ["Y", "H", "C"][: 3 if is_lstm else 2]
        attributes = {"hidden_size": size, "direction": self.direction, **self.attributes}
        self.nodes.append(
            helper.make_node(self.op, operands, results, "cell", None, None, None, **attributes)
        )
        for name in results:
            self._activation(name, f"{name}y", C_SCALE if name == "C" else H_SCALE, h_point)
        self.inputs = {name: array.astype(np.float32) for name, array in self.inputs.items()}
        return self._finished([f"{name}y" for name in results])

    def _finished(self, outputs: list[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "recurrent",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
                for name, array in self.inputs.items()
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        version = helper.make_opsetid("", 21)
        return helper.make_model(graph, opset_imports=[version], ir_version=10)


def raised(model: onnx.ModelProto) -> Graph:
    """The model imported and raised."""
    return PassManager(RAISE).run(import_model(model))


def onnxruntime_results(model: onnx.ModelProto, inputs: Arrays) -> Arrays:
    """What ONNX Runtime computes without optimization: the cell in float."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


LAYERS = {
    "lstm": Layer("LSTM"),
    "lstm, unsigned, by channel": Layer("LSTM", np.uint8, per_channel=True),
    "lstm, both directions": Layer("LSTM", direction="bidirectional"),
    "lstm, without states": Layer("LSTM", direction="reverse", has_state=False, has_bias=False),
    "lstm, coupled and clipped": Layer("LSTM", attributes={"input_forget": 1, "clip": 2.0}),
    "lstm, many steps": Layer("LSTM", hidden=48, steps=150),
    "lstm, wide": Layer("LSTM", hidden=512, steps=6),
    "lstm, hard sigmoid": Layer(
        "LSTM", attributes={"activations": ["HardSigmoid", "Tanh", "Tanh"]}
    ),
    "lstm, 16 bits": Layer("LSTM", np.int16, hidden=48, steps=60),
    "gru": Layer("GRU"),
    "gru, linear before reset": Layer("GRU", attributes={"linear_before_reset": 1}),
    "gru, both directions": Layer("GRU", np.uint8, direction="bidirectional"),
    "gru, many steps": Layer(
        "GRU", np.uint8, hidden=48, steps=150, attributes={"linear_before_reset": 1}
    ),
    "gru, 16 bits": Layer("GRU", np.uint16, hidden=48, steps=60),
}


@pytest.mark.parametrize("name", LAYERS)
def test_is_raised_and_equals_onnxruntime_within_a_step(name: str) -> None:
    layer = LAYERS[name]
    model = layer.model()
    graph = raised(model)
    assert not float_ops(graph)
    want, got = onnxruntime_results(model, layer.inputs), interpret(graph, layer.inputs)
    fine = np.dtype(layer.dtype).itemsize == 2
    for output, reference in want.items():
        steps = np.abs(np.rint((got[output] - reference) / layer.scales[output]))
        # 16-bit results show the steps of h, of the same size, and those of the curves.
        assert steps.max() <= (4 if fine else 1)
        assert np.mean(steps) <= (0.8 if fine else 0.03)


def test_h_gets_the_bits_that_the_weights_leave_room_for() -> None:
    narrow, wide = Layer("LSTM", hidden=24), Layer("LSTM", hidden=24, weights_type=np.int16)
    bits = []
    for layer in (narrow, wide):
        kinds = [op.kind for op in raised(layer.model()).ops]
        bits += [kind.hidden_bits for kind in kinds if isinstance(kind, QuantizedLstmScan)]
    assert bits[0] == 15
    assert 8 <= bits[1] < 15


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (
            Layer("LSTM", attributes={"activations": ["Sigmoid", "Relu", "Tanh"]}),
            "an activation leaves -1..1 or does not level off",
        ),
        (
            Layer("LSTM", np.int16, weights_type=np.int16),
            "its scales vary otherwise than by column of the weights, or 32 bits could overflow",
        ),
    ],
)
def test_what_has_no_integer_form_says_why(layer: Layer, reason: str) -> None:
    model = layer.model()
    graph = raised(model)
    assert reason in [each.reason for each in float_ops(graph)]
    assert not any(isinstance(op.kind, QuantizedLstmScan | QuantizedGruScan) for op in graph.ops)


@pytest.mark.parametrize(
    "activation", [SIGMOID, TANH, Activation(CellFunction.HARD_SIGMOID, 0.2, 0.5)]
)
def test_curves_are_close(activation: Activation) -> None:
    curve = curve_of(activation)
    assert curve is not None
    x = np.arange(-(20 << 12), 20 << 12)
    error = curve(x, 12) / 2.0**15 - activation(x / 2.0**12)
    # An entry is half a step off at most; a straight line has to pass the corners of hard sigmoid.
    corners = activation.function is CellFunction.HARD_SIGMOID
    assert np.abs(error).max() <= (4e-4 if corners else 6e-5)


def test_unbounded_activations_have_no_curve() -> None:
    assert curve_of(Activation(CellFunction.RELU)) is None
    assert curve_of(Activation(CellFunction.SOFTSIGN)) is None
    assert curve_of(Activation(CellFunction.AFFINE, 1.0)) is None
