"""The int8 models of MLPerf Tiny: integers throughout, and ONNX Runtime's outputs to the bit."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from tests.passes.quantize.test_quantizer import RAISE

MODELS = (
    "ad_autoencoder",
    "ic_resnet8",
    "kws_dscnn",
    "sww_streaming",
    "vww_mobilenetv1_025",
)


@pytest.mark.parametrize("name", MODELS)
def test_is_integer_and_equals_onnxruntime(name: str, shared_dir: Path) -> None:
    models = shared_dir / "models"
    path = models / "mlperf_tiny" / f"{name}_int8_qdq.onnx"
    graph = PassManager(RAISE).run(import_model(path))
    assert not float_ops(graph)
    assert not any(
        isinstance(op.kind, Conv | MatMul) and op.result.type.dtype.is_float for op in graph.ops
    )
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    fused = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    data = np.load(models / "reference_io" / f"{name}_int8_qdq.npz")
    (source,), (output,) = graph.inputs, graph.output_names
    for index in range(3):
        inputs = {source.name: data[f"in{index}/{source.name}"]}
        got = interpret(graph, inputs)[output]
        np.testing.assert_array_equal(got, data[f"out{index}/{output}"])
        np.testing.assert_array_equal(got, fused.run(None, inputs)[0])
