"""Laws of the basic passes: they keep every bit of the results, and applying one twice is once."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.canonicalize import Canonicalize
from lepton_cc.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from lepton_cc.passes.eliminate_dead_code import EliminateDeadCode
from lepton_cc.passes.fold_batchnorm import FoldBatchnorm
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.manager import Pass, PassManager, Repeat
from tests.ir.random_graphs import graphs, random_inputs

PASSES = (
    FoldConstants(),
    Canonicalize(),
    Canonicalize(reshape_transposes=False),
    EliminateCommonSubexpressions(),
    EliminateDeadCode(),
)


def assert_same_bits(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Equal types and bits; NaN equals NaN, whatever its payload."""
    assert list(actual) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)
        if array.dtype.kind == "f":
            known = ~np.isnan(array)
            np.testing.assert_array_equal(
                np.signbit(actual[name])[known], np.signbit(array)[known], f"zeros of {name}"
            )


@pytest.mark.parametrize("tested", PASSES, ids=lambda p: f"{p.NAME}")
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(graph=graphs(), seed=st.integers(0, 100))
def test_a_pass_keeps_the_results_and_is_idempotent(tested: Pass, graph: Graph, seed: int) -> None:
    manager = PassManager([tested])
    after = manager.run(graph)
    inputs = random_inputs(graph, seed)
    assert_same_bits(interpret(after, inputs), interpret(graph, inputs))
    assert manager.run(after) == after


def test_readers_that_nothing_reads_hinder_no_law() -> None:
    """A broadcast read by a clamp and by an op that is dropped: one run must already move it."""
    graph = parse_graph("""
    graph g(%image: f32[1, 4, 4, 1], %x: f32[1]) {
      %wide = broadcast(%x) {shape = (1, 1)}
      %unread = abs(%wide)
      %read = abs(%image)
      %bounded = clamp(%wide) {low = 0.0}
      return %read as out0, %bounded as out1
    }
    """)
    manager = PassManager([Canonicalize()])
    after = manager.run(graph)
    assert [op.kind.mnemonic for op in after.ops] == ["abs", "clamp", "broadcast"]
    assert manager.run(after) == after


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(graph=graphs(max_ops=20))
def test_the_passes_together_keep_the_results_and_settle(graph: Graph) -> None:
    manager = PassManager([Repeat(PASSES, limit=20)])
    after = manager.run(graph)
    inputs = random_inputs(graph)
    assert_same_bits(interpret(after, inputs), interpret(graph, inputs))
    rounds = len(manager.records) // len(PASSES)
    assert rounds < 20


CONTRACTIONS = {
    "conv": ("constant f32[2, 2, 4, 6]", "conv(%x, %w, %b) {window = 2x2 pad 1x0}", 6),
    "depthwise": ("constant f32[2, 2, 1, 8]", "conv(%x, %w, %b) {window = 2x2, groups = 4}", 8),
    "grouped": ("constant f32[1, 1, 2, 6]", "conv(%x, %w) {window = 1x1, groups = 2}", 6),
    "transposed": (
        "constant f32[2, 2, 4, 3]",
        "conv_transpose(%x, %w, %b) {window = 2x2 stride 2, output_padding = (0, 0), groups = 2}",
        6,
    ),
    "matmul": ("constant f32[4, 6]", "matmul(%x, %w, %b)", 6),
    "batched": ("constant f32[3, 4, 6]", "matmul(%x, %w)", 6),
}


@pytest.mark.parametrize("name", CONTRACTIONS)
@pytest.mark.parametrize("before", ["%i", "mul(%i, %a)", "div(%i, %a)", "sub(%i, %a)"])
def test_batchnorm_folds_into_any_contraction(name: str, before: str) -> None:
    weights, call, channels = CONTRACTIONS[name]
    rng = np.random.default_rng(0)

    constants: dict[str, Array] = {}

    def tensor(type_text: str) -> str:
        dims = [int(dim) for dim in type_text.partition("[")[2].rstrip("]").split(",")]
        array = rng.normal(size=dims).astype(np.float32)
        constants[Tensor(array).digest] = array
        return f"{type_text} #{Tensor(array).digest}"

    call = call.replace("%x", "%i" if before == "%i" else "%p")
    text = f"""
    graph g(%i: f32[1, 3, 3, 4]) {{
      %a = constant f32[4] (0.5, -2.0, 3.0, 1.5)
      %w = {tensor(weights)}
      %b = constant f32[{channels}] ({", ".join(["0.25"] * channels)})
      %p = {"neg(%i)" if before == "%i" else before}
      %c = {call}
      %s = {tensor(f"constant f32[1, 1, 1, {channels}]")}
      %t = {tensor(f"constant f32[1, 1, 1, {channels}]")}
      %scaled = mul(%c, %s)
      %y = sub(%scaled, %t)
      return %y as y
    }}
    """
    graph = parse_graph(text, constants)
    after = PassManager([FoldBatchnorm()]).run(graph)
    inputs = random_inputs(graph)
    expected, actual = (interpret(g, inputs)["y"] for g in (graph, after))
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-5)
    left = [op.kind.mnemonic for op in after.ops if op.kind.mnemonic != "constant"]
    padded = "pad" in call or name in ("transposed", "batched")
    assert left == (["sub"] if before.startswith("sub") and padded else []) + [call.split("(")[0]]
