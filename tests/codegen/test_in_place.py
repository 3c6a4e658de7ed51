"""Operands that a fused op's result may overwrite."""

from lepton_cc.codegen.in_place import overwritable_operands
from lepton_cc.ir.graph import Op
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.fuse_elementwise import FuseElementwise
from lepton_cc.passes.fuse_reductions import FuseReductions


def last_op(text: str) -> Op:
    """The last op of the graph after fusion."""
    graph = parse_graph(text)
    for pass_ in (FuseReductions(), FuseElementwise()):
        graph = pass_.run(graph, Statistics())
    return graph.ops[-1]


def names(text: str) -> list[str]:
    return [value.name for value in overwritable_operands(last_op(text))]


def test_softmax_of_a_sum_overwrites_what_it_has_read() -> None:
    assert names("""
    graph g(%x: f32[4, 8], %mask: f32[1, 8], %late: f32[4, 8]) {
      %masked = add(%x, %mask)
      %p = softmax(%masked) {axis = 1}
      %y = mul(%p, %late)
      return %y as y
    }
    """) == ["x", "late"]


def test_what_is_read_elsewhere_stays() -> None:
    assert names("""
    graph g(%x: f32[4, 4], %y: f32[4, 4]) {
      %turned = transpose(%x) {permutation = (1, 0)}
      %sum = add(%turned, %y)
      %both = add(%sum, %x)
      %p = softmax(%both) {axis = 1}
      return %p as p
    }
    """) == ["y"]
