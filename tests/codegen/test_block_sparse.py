"""Products with lists of weight blocks: when they are chosen, and that results are the same."""

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.lower.sparse_matmul import sparse_form
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.executable import Executable
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS, OptLevel


def _blocky(rows: int, columns: int, block: tuple[int, int], share: float) -> np.ndarray:
    random = np.random.default_rng(0)
    weights = random.integers(-9, 10, size=(rows, columns))
    stays = random.random((rows // block[0], columns // block[1])) >= share
    stays[:, 0] = False  # A band without any block.
    return weights * np.repeat(np.repeat(stays, block[0], axis=0), block[1], axis=1)


def _product(weights: np.ndarray, dtype: DType) -> Graph:
    build = GraphBuilder("product", [])
    accumulated = np.float32 if dtype is DType.F32 else np.int32
    x = build.input("x", TensorType(dtype, (2, weights.shape[0])))
    rhs = build.constant(weights.astype(dtype.numpy))
    bias = build.constant(np.arange(weights.shape[1]).astype(accumulated))
    kind = MatMul() if dtype is DType.F32 else MatMul(lhs_zero_point=-3)
    return build.finish([build.emit(kind, x, rhs, bias)], ["y"])


@pytest.mark.parametrize("dtype", [DType.F32, DType.I8])
@pytest.mark.parametrize("depth", [64, 640])
def test_lists_give_what_dense_products_give(dtype: DType, depth: int) -> None:
    weights = _blocky(depth, 32, (1, 8), 0.9)
    target = load_target("x86-64")
    form = sparse_form(weights.astype(dtype.numpy), target, target.lanes(4))
    assert form is not None
    assert (form.rows, form.columns) == (1, 8)
    graph = _product(weights, dtype)
    level = LEVELS[OptLevel.O2]
    program = assemble(graph, "product", target, level.schedule, reorder=False)
    x = np.random.default_rng(1).integers(-99, 100, size=(2, depth)).astype(dtype.numpy)
    # Small integers: sums of floats are exact in any order.
    got = Executable(program, level.llvm_level).run({"x": x})["y"]
    np.testing.assert_array_equal(got, interpret(graph, {"x": x})["y"])


def test_few_zeros_stay_dense() -> None:
    target = load_target("x86-64")
    weights = _blocky(64, 64, (1, 8), 0.3).astype(np.float32)
    assert sparse_form(weights, target, target.lanes(4)) is None


def test_scattered_zeros_stay_dense_with_wide_vectors_but_not_on_a_scalar_core() -> None:
    scattered = _blocky(128, 64, (4, 1), 0.85)
    wide, core = load_target("x86-64-v4"), load_target("rv32imc")
    assert sparse_form(scattered.astype(np.float32), wide, wide.lanes(4)) is None
    assert sparse_form(scattered.astype(np.int8), core, 1) is not None
