"""Layout, recognition and fusion on real trained models: what is left of transposes and of ops."""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.passes.catalogue import PASSES
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.permutation import moves_nothing
from lepton_cc.passes.pipeline_text import parse_pipeline

SIMPLIFY = (
    "(sink-reshapes,fold-constants,canonicalize,"
    "eliminate-common-subexpressions,eliminate-dead-code)*"
)
PIPELINE = (
    "fold-constants,raise-integers,prove-accumulators,fold-constants{fold-dequantize=true},"
    f"propagate-layout,{SIMPLIFY},recognize-softmax,recognize-norms,recognize-one-hot,"
    f"recognize-activations,recognize-bias,{SIMPLIFY},propagate-layout,"
    "fuse-activations,fuse-reductions,fuse-elementwise"
)

# Model: transposes that move elements and that no other op takes in, and the most ops that may be
# left (constants not counted). The one transpose is that of an image with several channels.
LEFT = {
    "mlperf_tiny/ad_autoencoder_fp32": (0, 10),
    "mlperf_tiny/ic_resnet8_fp32": (1, 14),
    "mlperf_tiny/ic_resnet8_fp32_bn": (1, 14),
    "mlperf_tiny/ic_resnet8_int8_qdq": (0, 24),
    "mlperf_tiny/kws_dscnn_fp32_bn": (0, 14),
    "mlperf_tiny/sww_streaming_fp32": (1, 12),
    "mlperf_tiny/vww_mobilenetv1_025_fp32": (1, 32),
    "other/dtln_1": (0, 20),
    "other/magika_v3_3": (0, 21),
    "other/mnist_cnn": (0, 7),
    "other/ppocr_cls": (1, 78),
    "other/silero_vad_16k": (0, 21),
    "other/stories260k_prefill64": (5, 133),
    "other/ultraface_rfb320": (1, 72),
    "other/yunet_n_320": (1, 80),
}
# Quick to interpret.
INTERPRETED = {
    "mlperf_tiny/ic_resnet8_fp32",
    "mlperf_tiny/ic_resnet8_int8_qdq",
    "mlperf_tiny/kws_dscnn_fp32_bn",
    "other/mnist_cnn",
    "other/silero_vad_16k",
    "other/stories260k_prefill64",
}


def num_transposes(graph: Graph) -> int:
    kinds = [(op.kind, op.inputs) for op in graph.ops]
    return sum(
        isinstance(kind, Transpose) and not moves_nothing(inputs[0].type.shape, kind.permutation)
        for kind, inputs in kinds
    )


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left(name: str, shared_dir: Path) -> None:
    graph = import_model(shared_dir / "models" / f"{name}.onnx")
    after = PassManager(parse_pipeline(PIPELINE, PASSES)).run(graph)
    transposes, ops = LEFT[name]
    assert num_transposes(after) <= transposes
    assert sum(not isinstance(op.kind, Constant) for op in after.ops) <= ops
    if name in INTERPRETED:
        rng = np.random.default_rng(0)
        inputs = {
            v.name: rng.normal(size=v.type.dims).astype(v.type.dtype.numpy) for v in graph.inputs
        }
        expected, got = interpret(graph, inputs), interpret(after, inputs)
        for output, array in expected.items():
            np.testing.assert_allclose(got[output], array, rtol=1e-5, atol=1e-5)
