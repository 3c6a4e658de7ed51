"""The uint8 form of an int8 network gives the same floats, and whatever cannot move is refused."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.quantized_networks import quantized
from benchmarks.unsigned_form import unsigned_form
from lepton_cc.ir.tensor import Array
from tests import real_models
from tests.real_models import RealModel


def _run(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """ONNX Runtime's outputs without any optimization, which computes the graph as it says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(each) for each in session.run(None, feeds)]


def _activation_types(model: onnx.ModelProto) -> set[int]:
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return {types[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"}


def test_digits_are_the_same_to_the_bit(project_root: Path) -> None:
    model = quantized(onnx.load(project_root / "models" / "digits_cnn.onnx"))
    moved = unsigned_form(model)
    onnx.checker.check_model(moved, full_check=True)
    assert _activation_types(model) == {TensorProto.INT8}
    assert _activation_types(moved) == {TensorProto.UINT8}
    images = np.load(project_root / "models" / "digits_samples.npz")["x"]
    for image in images[:20, None]:
        for ours, theirs in zip(
            _run(moved, {"image": image}), _run(model, {"image": image}), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("model", real_models.TINY_INT8, ids=str)
def test_real_models_are_the_same_to_the_bit(model: RealModel) -> None:
    source = onnx.load(model.require())
    moved = unsigned_form(source)
    onnx.checker.check_model(moved, full_check=True)
    for sample in model.samples():
        feeds = dict(sample.inputs)
        for ours, theirs in zip(_run(moved, feeds), _run(source, feeds), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def _chain(middle: str) -> onnx.ModelProto:
    """Quantize, an operator on int8, dequantize."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node(middle, ["q"], ["r"], name="between"),
        helper.make_node("DequantizeLinear", ["r", "scale", "zero"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    constants = [
        numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
        numpy_helper.from_array(np.array(3, np.int8), "zero"),
    ]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], constants)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_operators_on_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="Identity 'between' reads int8"):
        unsigned_form(_chain("Identity"))


def test_integers_at_the_border_are_refused() -> None:
    model = _chain("Identity")
    del model.graph.node[1:]
    model.graph.output[0].name = "q"
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    with pytest.raises(ValueError, match="'q' is int8"):
        unsigned_form(model)


def test_a_zero_point_that_weights_share_stays_theirs() -> None:
    model = _chain("Identity")
    del model.graph.node[1:]
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["a"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["b"]))
    model.graph.node.append(helper.make_node("Add", ["a", "b"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(4, dtype=np.int8), "w"))
    x = np.array([-100, -0.3, 7, 100], np.float32)
    (moved,), (original,) = _run(unsigned_form(model), {"x": x}), _run(model, {"x": x})
    np.testing.assert_array_equal(moved, original)
