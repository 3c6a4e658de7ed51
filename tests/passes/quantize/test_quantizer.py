"""Whole networks as ONNX Runtime's quantizer writes them: raised completely, and equal to it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.float_ops import float_ops
from lepton_cc.passes.quantize.prove_accumulators import ProveAccumulators
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers
from tests.passes.quantize.quantized_models import NETWORKS, SCHEMES, inputs, model_of, names

RAISE = (FoldConstants(), RaiseIntegers(), ProveAccumulators())


def _unoptimized(path: Path, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def _output_scale(graph: Graph) -> float:
    producers = graph.producers()
    last = next(op for op in reversed(graph.ops) if isinstance(op.kind, Dequantize))
    scale = producers[last.inputs[1]].kind
    return float(scale.evaluate(())[0].reshape(-1)[0])


@pytest.mark.parametrize(("network", "scheme"), names())
def test_is_raised_and_equals_onnxruntime(network: str, scheme: str, tmp_path: Path) -> None:
    net = NETWORKS[network]()
    path = SCHEMES[scheme].quantize(model_of(net), net.shape, tmp_path)
    graph = PassManager(RAISE).run(import_model(path))
    assert not float_ops(graph)
    scale = _output_scale(graph)
    for x in inputs(net.shape, 3, seed=5):
        got, want = interpret(graph, {"x": x})["y"], _unoptimized(path, x)
        steps = np.abs(np.rint((got - want) / scale))
        # QLinear operators agree to the bit; floats between QDQ may round otherwise.
        assert steps.max() <= (0 if scheme.startswith("qoperator") else 1)
