"""Weights of matrix products in blocks of rows: what they stand for, in the graph and as ONNX."""

import numpy as np
import onnxruntime
import pytest

import lepton_cc
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.weight_rounding import (
    WeightScheme,
    fitting_block,
    quantize_blocks,
)

DEPTH, WIDTH = 96, 24


def weights() -> Array:
    """Rows of very different sizes, which one scale a column would drown."""
    generator = np.random.default_rng(2)
    sizes = np.repeat([1.0, 0.02, 0.3], DEPTH // 3)[:, None]
    return np.asarray(generator.standard_normal((DEPTH, WIDTH)) * sizes, np.float32)


def network(*, with_bias: bool) -> Graph:
    builder = GraphBuilder("network", ["x"])
    x = builder.input("x", TensorType(DType.F32, (4, DEPTH)))
    operands = [builder.constant(weights())]
    if with_bias:
        operands.append(builder.constant(np.linspace(-1, 1, WIDTH).astype(np.float32)))
    return builder.finish([builder.emit(MatMul(), x, *operands, name="y")], ["y"])


@pytest.fixture(scope="module")
def samples() -> Array:
    generator = np.random.default_rng(7)
    mixed = generator.standard_normal((20, 4, 40)) @ generator.standard_normal((40, DEPTH))
    return np.asarray(mixed, np.float32)


def quantized(samples: Array, block: int, rounding: Rounding, *, with_bias: bool = True) -> Graph:
    options = QuantizationOptions(
        WeightScheme.W4A16, {"x": samples}, rounding=rounding, block=block
    )
    found = quantize(network(with_bias=with_bias), options)
    assert found is not None
    return found.graph


def squared_error(graph: Graph, samples: Array) -> float:
    original = network(with_bias=True)
    return float(
        sum(
            np.sum((interpret(graph, {"x": x})["y"] - interpret(original, {"x": x})["y"]) ** 2)
            for x in samples
        )
    )


def test_each_block_of_a_column_has_its_scale() -> None:
    found = quantize_blocks(weights(), DType.I4, 32)
    assert found.integers.shape == (3, 32, WIDTH)
    assert found.scales.shape == (3, 1, WIDTH)
    errors = np.abs(found.reals.reshape(DEPTH, WIDTH) - weights())
    assert np.all(np.sqrt(np.mean(errors.reshape(3, 32, WIDTH) ** 2, axis=1)) < found.scales[:, 0])
    assert found.scales[1].max() < 0.1 * found.scales[0].min()


@pytest.mark.parametrize(("depth", "block", "expected"), [(96, 32, 32), (172, 32, 43), (7, 64, 7)])
def test_blocks_divide_the_rows(depth: int, block: int, expected: int) -> None:
    assert fitting_block(depth, block) == expected


def test_solving_errs_less_and_smaller_blocks_do(samples: Array) -> None:
    plain = squared_error(quantized(samples, 32, Rounding.PLAIN), samples)
    solved = squared_error(quantized(samples, 32, Rounding.GPTQ), samples)
    coarse = squared_error(quantized(samples, 96, Rounding.GPTQ), samples)
    assert solved < 0.6 * plain
    assert solved < 0.8 * coarse


@pytest.mark.parametrize("with_bias", [False, True])
def test_onnx_and_code_compute_what_the_graph_says(samples: Array, with_bias: bool) -> None:
    graph = quantized(samples, 32, Rounding.PLAIN, with_bias=with_bias)
    assert not any(isinstance(op.kind, Quantize) for op in graph.ops)
    (dequantize,) = (op for op in graph.ops if isinstance(op.kind, Dequantize))
    assert dequantize.inputs[0].type.dtype is DType.I4
    model = onnx_model(graph)
    (node,) = (one for one in model.graph.node if one.op_type == "DequantizeLinear")
    assert {one.name: one.i for one in node.attribute} == {"axis": 0, "block_size": 32}
    feed = {"x": samples[0]}
    expected = interpret(graph, feed)["y"]
    session_options = onnxruntime.SessionOptions()
    # It would make 8-bit integers of x otherwise.
    session_options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options)
    (theirs,) = session.run(None, feed)
    np.testing.assert_allclose(theirs, expected, rtol=1e-4, atol=1e-4)
    ours = lepton_cc.compile(model, target="x86-64").run(feed)["y"]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_blocks_want_wide_activations(samples: Array) -> None:
    options = QuantizationOptions(WeightScheme.W4A8, {"x": samples}, block=32)
    with pytest.raises(UsageError, match="w4a16 and w8a16"):
        quantize(network(with_bias=False), options)
