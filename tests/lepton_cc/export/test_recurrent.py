"""Recurrent layers and resizing as ONNX: what comes back is what was written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import BEFORE_QUANTIZATION, LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager

HIDDEN, FEATURES, STEPS = 5, 3, 4


def layer(op_type: str, *, bias: bool, **attributes: Any) -> onnx.ModelProto:
    """A layer of both directions with initial states as inputs."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    generator = np.random.default_rng(gates)
    shapes: dict[str, tuple[int, ...]] = {
        "w": (2, gates * HIDDEN, FEATURES),
        "r": (2, gates * HIDDEN, HIDDEN),
    }
    if bias:
        shapes["b"] = (2, 2 * gates * HIDDEN)
    weights = [
        onnx.numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    states = ["h0", "c0"] if op_type == "LSTM" else ["h0"]
    results = ["y", "h", "c"][: len(states) + 1]
    inputs = ["x", "w", "r", "b" if bias else "", "", *states]
    node = helper.make_node(
        op_type, inputs, results, hidden_size=HIDDEN, direction="bidirectional", **attributes
    )
    dims = {"x": (STEPS, 1, FEATURES), **dict.fromkeys(states, (2, 1, HIDDEN))}
    last = {"y": (STEPS, 2, 1, HIDDEN), "h": (2, 1, HIDDEN), "c": (2, 1, HIDDEN)}
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in dims.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, last[n]) for n in results],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=9)


def feed_of(graph: Graph, seed: int = 0) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {
        value.name: generator.standard_normal(value.type.dims).astype(np.float32)
        for value in graph.inputs
    }


@pytest.mark.parametrize(
    ("op_type", "bias", "attributes"),
    [
        ("LSTM", True, {"clip": 0.8}),
        ("LSTM", False, {"activations": ["HardSigmoid", "Tanh", "Elu"] * 2}),
        ("GRU", True, {"linear_before_reset": 1}),
        ("GRU", True, {}),
        ("RNN", True, {"activations": ["Relu", "Tanh"]}),
    ],
)
def test_float_layers_run_in_onnx_runtime(
    op_type: str, bias: bool, attributes: dict[str, object]
) -> None:
    graph = PassManager(BEFORE_QUANTIZATION).run(
        import_model(layer(op_type, bias=bias, **attributes))
    )
    feed = feed_of(graph)
    session = onnxruntime.InferenceSession(onnx_model(graph).SerializeToString())
    theirs = session.run(list(graph.output_names), feed)
    expected = interpret(graph, feed)
    for name, array in zip(graph.output_names, theirs, strict=True):
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["digits_gru", "digits_lstm"])
def test_quantized_layers_keep_their_integers(project_root: Path, name: str) -> None:
    samples = np.load(project_root / "models" / "digits_samples.npz")["x"][:6]
    imported = import_model(project_root / "models" / f"{name}.onnx")
    port = imported.inputs[0]
    model = quantize(imported, QuantizationOptions(source={port.name: samples[:4]}))
    assert model is not None
    again = import_model(onnx_model(model.graph))
    passes = PassManager(LEVELS[OptLevel.O0].passes)
    written, read = passes.run(model.graph), passes.run(again)
    kinds = [sorted(op.kind.mnemonic for op in graph.ops) for graph in (written, read)]
    assert "scan" in " ".join(kinds[0])
    feed = {port.name: samples[5].reshape(port.type.dims)}
    expected, got = interpret(written, feed), interpret(read, feed)
    for output in model.graph.output_names:
        np.testing.assert_array_equal(got[output], expected[output])


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear"},
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"},
    ],
)
def test_resizes_come_back_as_they_were(attributes: dict[str, Any]) -> None:
    sizes = onnx.numpy_helper.from_array(np.asarray([1, 3, 9, 4], np.int64), "sizes")
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("x", (1, 3, 5, 8)), ("y", (1, 3, 9, 4)))
    ]
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    graph = helper.make_graph([node], "resize", ports[:1], ports[1:], [sizes])
    opset = [helper.make_opsetid("", 18)]
    source = helper.make_model(graph, opset_imports=opset, ir_version=9)
    imported = import_model(source)
    written = onnx_model(imported)
    feed = feed_of(imported)
    expected = interpret(imported, feed)["y"]
    np.testing.assert_array_equal(interpret(import_model(written), feed)["y"], expected)
    (theirs,) = onnxruntime.InferenceSession(written.SerializeToString()).run(None, feed)
    np.testing.assert_allclose(theirs, expected, rtol=1e-4, atol=1e-5)
