"""Float products with blockwise 4-bit weights: packed in flash, dequantized where they are read."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.ir.tensor import Array
from lepton_cc.levels import OptLevel
from tests.differential.ways import EMULATED, NATIVE, C, Way

DEPTH, COLUMNS, BLOCK = 96, 40, 32
_BYTES = DEPTH * COLUMNS // 2 + DEPTH // BLOCK * COLUMNS * 4
_QUICK = ("host-O3", "x86-64", "gcc-O3", "rv32imc")
WAYS = (Way("host-O0", "host", OptLevel.O0), *NATIVE, *C, *EMULATED)
MODELS = ("MatMulNBits", "MatMulNBits with zero points", "rows of blocks", "columns of blocks")


def model(name: str, rows: int) -> onnx.ModelProto:
    """A product of x [rows, DEPTH] with random weights."""
    rng = np.random.default_rng(7)
    blocks = DEPTH // BLOCK
    contrib = name.startswith("MatMulNBits")
    if contrib:
        content: dict[str, Array] = {
            "w": rng.integers(0, 256, (COLUMNS, blocks, BLOCK // 2), dtype=np.uint8),
            "s": rng.random((COLUMNS, blocks), np.float32),
        }
        if name.endswith("points"):
            points = rng.integers(0, 256, (COLUMNS, -(-blocks // 2)), dtype=np.uint8)
            content["z"] = points.reshape(-1)
        weights = [numpy_helper.from_array(array, key) for key, array in content.items()]
        nodes = [
            helper.make_node(
                "MatMulNBits",
                ["x", *content],
                ["y"],
                domain="com.microsoft",
                K=DEPTH,
                N=COLUMNS,
                bits=4,
                block_size=BLOCK,
            )
        ]
    else:
        turned = name.startswith("columns")
        dims = [COLUMNS, DEPTH] if turned else [DEPTH, COLUMNS]
        scales = [COLUMNS, blocks] if turned else [blocks, COLUMNS]
        weights = [
            helper.make_tensor("w", TensorProto.INT4, dims, rng.integers(-8, 8, DEPTH * COLUMNS)),
            numpy_helper.from_array(rng.random(scales, np.float32), "s"),
        ]
        axis = int(turned)
        nodes = [
            helper.make_node("DequantizeLinear", ["w", "s"], ["f"], axis=axis, block_size=BLOCK),
            helper.make_node("Gemm", ["x", "f"], ["y"], transB=int(turned)),
        ]
    graph = helper.make_graph(
        nodes,
        "blocked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, COLUMNS])],
        weights,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _written(name: str, rows: int, folder: Path) -> tuple[Path, Array, Array]:
    """The model's path, an input, and what ONNX Runtime makes of it without optimizations."""
    path = folder / "blocked.onnx"
    onnx.save(model(name, rows), path)
    x = np.random.default_rng(rows).standard_normal((rows, DEPTH)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return path, x, np.asarray(y)


@pytest.mark.parametrize(
    "way",
    [pytest.param(w, id=w.name, marks=[] if w.name in _QUICK else pytest.mark.slow) for w in WAYS],
)
@pytest.mark.parametrize("name", MODELS)
def test_products(name: str, way: Way, tmp_path: Path) -> None:
    for rows in (1, 9):
        folder = tmp_path / str(rows)
        folder.mkdir()
        path, x, expected = _written(name, rows, folder)
        (y,) = way.prepare(path, folder)({"x": x}).values()
        largest = float(np.abs(expected).max())
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("target", ["x86-64", "rv32imc"])
@pytest.mark.parametrize("name", MODELS)
def test_weights_stay_packed(name: str, target: str, tmp_path: Path) -> None:
    """Four bits a weight and the scales of the blocks in flash, no floats of weights in memory."""
    program = Way(target, target).compile(_written(name, 1, tmp_path)[0]).program
    # Zero points are few: they keep a byte each. Buffers start at cache lines.
    points = DEPTH // BLOCK * COLUMNS if name.endswith("points") else 0
    assert program.constants_bytes <= _BYTES + points + 3 * 64
    assert program.arena_bytes == 0
