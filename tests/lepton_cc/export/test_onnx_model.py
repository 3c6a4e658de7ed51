"""Exported models: ONNX Runtime runs them, and our frontend makes the same integers of them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Pad, Slice, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from lepton_cc.passes.quantize.output_scales import output_scales
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from tests.passes.quantize.test_quantizer import RAISE


def quantized(path: Path, samples: Array, scheme: str) -> Graph:
    imported = import_model(path)
    options = QuantizationOptions(WeightScheme(scheme), {imported.inputs[0].name: samples})
    model = quantize(imported, options)
    assert model is not None
    return model.graph


def integers_of(graph: Graph) -> Graph:
    return PassManager(LEVELS[OptLevel.O0].passes).run(graph)


def onnxruntime_outputs(model: onnx.ModelProto, x: Array, *, fused: bool = True) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if fused:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[Array] = session.run(None, {session.get_inputs()[0].name: x})
    return found


@pytest.mark.parametrize("scheme", ["w8a8", "w4a8"])
@pytest.mark.parametrize("name", ["digits_cnn", "digits_dscnn"])
def test_quantized_digits_keep_their_integers(project_root: Path, name: str, scheme: str) -> None:
    samples = np.load(project_root / "models" / "digits_samples.npz")["x"][:24]
    graph = quantized(project_root / "models" / f"{name}.onnx", samples[:16], scheme)
    model = onnx_model(graph)
    written, again = integers_of(graph), integers_of(import_model(model))
    input_name = graph.inputs[0].name
    steps = output_scales(graph)
    for x in samples[16:]:
        feed = {input_name: x.reshape(graph.inputs[0].type.dims)}
        expected = interpret(written, feed)
        got = interpret(again, feed)
        for output in graph.output_names:
            np.testing.assert_array_equal(got[output], expected[output])
        theirs = onnxruntime_outputs(model, feed[input_name])
        for output, array in zip(graph.output_names, theirs, strict=True):
            assert float(np.abs(array - expected[output]).max()) <= steps[output] * 1.001


def test_four_bit_weights_are_int4(project_root: Path) -> None:
    samples = np.load(project_root / "models" / "digits_samples.npz")["x"][:8]
    model = onnx_model(quantized(project_root / "models" / "digits_cnn.onnx", samples, "w4a8"))
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.INT4 in types
    assert model.opset_import[0].version == 21


def test_bytes_need_no_new_opset(project_root: Path) -> None:
    samples = np.load(project_root / "models" / "digits_samples.npz")["x"][:8]
    model = onnx_model(quantized(project_root / "models" / "digits_cnn.onnx", samples, "w8a8"))
    assert model.opset_import[0].version == 20


@pytest.mark.parametrize("scheme", ["w8a8", "w4a8", "w8a16"])
def test_stacked_products_keep_their_biases(scheme: str) -> None:
    rng = np.random.default_rng(2)
    builder = GraphBuilder("stacked", ["x"])
    value = builder.input("x", TensorType(DType.F32, (1, 8, 32)))
    for rows, columns in ((32, 64), (64, 16)):
        weights = rng.standard_normal((rows, columns)).astype(np.float32) / 8
        bias = rng.standard_normal(columns).astype(np.float32)
        operands = [builder.constant(array) for array in (weights, bias)]
        value = builder.emit(Clamp(0.0), builder.emit(MatMul(), value, *operands))
    graph = builder.finish([value], ["y"])
    samples = rng.standard_normal((8, 1, 8, 32)).astype(np.float32)
    done = quantize(graph, QuantizationOptions(WeightScheme(scheme), {"x": samples}))
    assert done is not None
    model = onnx_model(done.graph)
    again = import_model(model)
    assert not float_ops(PassManager(RAISE).run(again))
    expected = interpret(integers_of(done.graph), {"x": samples[0]})["y"]
    np.testing.assert_array_equal(interpret(integers_of(again), {"x": samples[0]})["y"], expected)
    (theirs,) = onnxruntime_outputs(model, samples[0], fused=False)
    assert np.abs(theirs - expected).max() <= output_scales(done.graph)["y"] * 1.001


def test_a_constant_may_be_an_output() -> None:
    builder = GraphBuilder("constant", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, 2)))
    numbers = builder.constant(np.asarray([1.0, 5.0], np.float32))
    graph = builder.finish([builder.emit(Clamp(0.0), x), numbers, numbers], ["y", "z", "again"])
    got = onnxruntime_outputs(onnx_model(graph), np.ones((1, 2), np.float32))
    assert [array.tolist() for array in got] == [[[1.0, 1.0]], [1.0, 5.0], [1.0, 5.0]]


X = TensorType(DType.F32, (1, 3, 4, 5))


def graph_of(*kinds: OpKind) -> Graph:
    builder = GraphBuilder("chain", ["x"])
    value = builder.input("x", X)
    for kind in kinds:
        value = builder.emit(kind, value)
    return builder.finish([value], ["y"])


@pytest.mark.parametrize(
    "kinds",
    [
        (Transpose((0, 2, 3, 1)),),
        (Transpose((0, 2, 3, 1)), Clamp(0.0), Slice((0, 3, 0, 2), (1, 2, 3, 1), (1, -2, 1, 1))),
        (Transpose((3, 1, 0, 2)), Pad((1, 0, 2, 0), (0, 1, 0, 3)), Unary(UnaryFunction.TANH)),
        (Transpose((0, 3, 1, 2)), Softmax(2), Clamp(0.1, 0.6)),
        (Transpose((0, 3, 1, 2)), Reduce(ReduceFunction.SUM, (1, 2), keep_dims=False)),
        (Transpose((3, 0, 2, 1)), Reduce(ReduceFunction.MAX, (0,)), Clamp(high=0.5)),
        (Transpose((2, 0, 3, 1)), ArgReduce(ArgFunction.ARGMAX, 2, keep_dims=False)),
    ],
)
def test_axes_are_followed_through_views(kinds: tuple[OpKind, ...]) -> None:
    graph = graph_of(*kinds)
    x = np.random.default_rng(3).standard_normal(X.dims).astype(np.float32)
    (got,) = onnxruntime_outputs(onnx_model(graph), x)
    expected = interpret(graph, {"x": x})["y"]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_operands_in_different_orders_meet(project_root: Path) -> None:
    builder = GraphBuilder("meet", ["x"])
    x = builder.input("x", TensorType(DType.F32, (2, 2, 2)))
    turned = builder.emit(Transpose((2, 0, 1)), x)
    row = builder.constant(np.asarray([1.0, 5.0], np.float32))
    added = builder.emit(Binary(BinaryFunction.ADD), turned, row)
    total = builder.emit(Binary(BinaryFunction.MUL), x, added)
    joined = builder.emit(Concat(1), added, total)
    graph = builder.finish([joined, x, joined], ["y", "copy", "again"])
    array = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    expected = interpret(graph, {"x": array})
    got = onnxruntime_outputs(onnx_model(graph), array)
    for name, values in zip(graph.output_names, got, strict=True):
        np.testing.assert_array_equal(values, expected[name])


def test_what_onnx_has_no_form_for_is_named() -> None:
    graph = graph_of(Unary(UnaryFunction.LOG1P), Clamp(0.0), Unary(UnaryFunction.TRUNC))
    with pytest.raises(Refused) as refused:
        onnx_model(graph)
    assert "log1p" in str(refused.value)
