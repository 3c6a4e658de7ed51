"""Zeros that save nothing are called so; those that do are counted."""

import numpy as np

from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.pattern import TWO_OF_FOUR, Pattern, PatternKind
from lepton_cc.pruning.options import PruneOptions
from lepton_cc.pruning.prune import prune
from lepton_cc.pruning.savings import savings


def _dense() -> Graph:
    random = np.random.default_rng(0)
    build = GraphBuilder("dense", [])
    x = build.input("x", TensorType(DType.F32, (1, 64)))
    hidden = build.emit(
        MatMul(),
        x,
        build.constant(random.normal(size=(64, 64)).astype(np.float32)),
        build.constant(random.normal(size=64).astype(np.float32)),
        name="hidden",
    )
    return build.finish([hidden], ["y"])


def _samples() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(size=(80, 1, 64)).astype(np.float32)}


def test_blocks_save_bytes_and_scattered_zeros_are_refused() -> None:
    blocks = PruneOptions(0.75, Pattern(PatternKind.BLOCKS, 1, 16))
    target = load_target("x86-64-v3")
    result = prune(_dense(), _samples(), blocks)
    assert abs(result.sparsity - 0.75) < 0.02
    (saved,) = savings(result.graph, target)
    assert saved.is_sparse
    assert saved.stored_bytes < 0.35 * saved.dense_bytes
    scattered = prune(_dense(), _samples(), PruneOptions(0.5))
    (refused,) = savings(scattered.graph, target)
    assert refused.note == f"pruning {refused.name} to 50% saves 0 cycles on this target"


def test_a_pruned_graph_is_the_same_each_time() -> None:
    two_of_four = PruneOptions(0.5, TWO_OF_FOUR)
    first, second = (prune(_dense(), _samples(), two_of_four) for _ in range(2))
    assert first.graph == second.graph
    assert first.sparsity == 0.5


def test_savings_on_a_core_are_counted() -> None:
    target = load_target("rv32imc")
    (dense,) = prunable_layers(_dense())
    kept = np.random.default_rng(2).random((64, 64)) < 0.25
    pruned = with_constants(_dense(), {dense.op.inputs[1]: np.where(kept, dense.weights, 0)})
    (counted,) = savings(pruned, target, DType.I8, count=True)
    assert (counted.form, counted.note) == ("blocks of 1 x 1", "")
    # Requantization, which is most of the rest, is the same.
    assert counted.cycles < 0.65 * counted.dense_cycles
    assert counted.stored_bytes < 0.5 * counted.dense_bytes


def test_weights_of_the_engine_are_its_own_matter() -> None:
    (dense,) = prunable_layers(_dense())
    half = with_constants(_dense(), {dense.op.inputs[1]: dense.weights * (dense.weights > 0)})
    (refused,) = savings(half, load_target("lepton-npu"), DType.I8)
    assert not refused.is_sparse
    assert refused.note
