"""The rewriter: names, locations, uses, constants, and what it refuses."""

import numpy as np
import pytest

from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Location, Op
from lepton_cc.ir.ops.elementwise import Clamp, Unary
from lepton_cc.ir.ops.movement import Reshape, Transpose
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.printer import print_graph
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, Statistics, rewrite, rule

EXP, LOG, NEG = (Unary(f) for f in (UnaryFunction.EXP, UnaryFunction.LOG, UnaryFunction.NEG))


@rule("exp(log(x)) = x", Unary)
def cancel(op: Op, rewriter: Rewriter) -> Replacement:
    found = rewriter.match(op.inputs[0], Unary)
    if op.kind != EXP or found is None or found[0] != LOG:
        return None
    return (found[1].inputs[0],)


@rule("exp(x) = -log(x)", Unary)
def wrong_but_long(op: Op, rewriter: Rewriter) -> Replacement:
    if op.kind != EXP:
        return None
    return (rewriter.emit(NEG, rewriter.emit(LOG, op.inputs[0], name="inner")),)


def graph_of(body: str) -> str:
    return f"graph g(%x: f32[2, 2]) {{ {body} }}"


def rewritten(body: str, *rules: Rule) -> tuple[str, Statistics]:
    statistics = Statistics()
    graph = rewrite(parse_graph(graph_of(body)), rules, statistics)
    return print_graph(graph), statistics


def assert_gives(body: str, expected: str, *rules: Rule) -> None:
    assert rewritten(body, *rules)[0] == print_graph(parse_graph(graph_of(expected)))


def test_chains_collapse_and_interfaces_stay() -> None:
    body = "%a = log(%x) %b = exp(%a) %c = log(%b) %d = exp(%c) return %d as y, %x as x"
    text, statistics = rewritten(body, cancel)
    assert text == print_graph(parse_graph(graph_of("return %x as y, %x as x")))
    assert statistics.counts == (("exp(log(x)) = x", 2),)


def test_the_replacement_takes_the_name_and_the_locations() -> None:
    assert_gives(
        "%e = exp(%x) loc(\"Exp 'e'\") %inner = abs(%e) return %inner as y",
        "%inner.1 = log(%x) loc(\"Exp 'e'\") %e = neg(%inner.1) loc(\"Exp 'e'\")"
        " %inner = abs(%e) return %inner as y",
        wrong_but_long,
    )


def test_what_was_matched_is_located_before_what_was_replaced() -> None:
    @rule("transpose(transpose(x)) = transpose(x)", Transpose)
    def merge(op: Op, rewriter: Rewriter) -> Replacement:
        found = rewriter.match(op.inputs[0], Transpose)
        return None if found is None else (rewriter.emit(op.kind, found[1].inputs[0]),)

    graph = parse_graph(
        graph_of(
            '%a = transpose(%x) {permutation = (1, 0)} loc("first")'
            ' %b = transpose(%a) {permutation = (1, 0)} loc("second") return %b as y'
        )
    )
    (op,) = rewrite(graph, [merge], Statistics()).ops
    assert op.location == Location(("first", "second"))


def test_untouched_ops_are_the_same_objects() -> None:
    graph = parse_graph(graph_of("%a = abs(%x) %b = neg(%a) return %b as y"))
    assert all(
        a is b for a, b in zip(rewrite(graph, [cancel], Statistics()).ops, graph.ops, strict=True)
    )


def test_uses_count_outputs_and_forget_what_was_replaced() -> None:
    seen: list[tuple[str, bool]] = []

    @rule("nothing", Clamp)
    def watch(op: Op, rewriter: Rewriter) -> Replacement:
        seen.append((op.inputs[0].name, rewriter.has_single_use(op.inputs[0])))
        return None

    rewritten(
        "%a = abs(%x) %b = clamp(%a) %c = neg(%x) %d = clamp(%c)"
        " %l = log(%c) %m = log(%l) %n = exp(%m) %o = clamp(%n)"
        " return %b as b, %a as a, %d as d, %o as o",
        cancel,
        watch,
    )
    assert seen[:3] == [("a", False), ("c", False), ("l", False)]
    assert seen[3:] == [("a", False), ("c", False), ("l", True)]


def test_ops_that_nothing_reads_do_not_count_as_readers() -> None:
    seen: list[bool] = []

    @rule("nothing", Clamp)
    def watch(op: Op, rewriter: Rewriter) -> Replacement:
        seen.append(rewriter.has_single_use(op.inputs[0]))
        return None

    rewritten("%a = abs(%x) %b = neg(%a) %c = exp(%b) %d = clamp(%a) return %d as y", watch)
    assert seen == [True]


def test_uniform_compares_bits() -> None:
    found: list[object] = []

    @rule("nothing", Reshape)
    def watch(op: Op, rewriter: Rewriter) -> Replacement:
        found.append(rewriter.uniform(op.inputs[0]))
        return None

    rewritten(
        "%c = constant f32[2] (0, -0.0) %d = constant f32[2] (nan, nan) %e = constant f32[0] ()"
        " %r = reshape(%c) {shape = (2)} %s = reshape(%d) {shape = (2)}"
        " %t = reshape(%e) {shape = (0)} %u = reshape(%x) {shape = (4)}"
        " return %r as r, %s as s, %t as t, %u as u",
        watch,
    )
    assert [element is None for element in found] == [True, False, True, True]
    assert np.shape(np.asarray(found[1])) == ()


def test_a_rule_that_changes_a_type_is_a_bug() -> None:
    @rule("flatten", Unary)
    def flatten(op: Op, rewriter: Rewriter) -> Replacement:
        return (rewriter.emit(Reshape((4,)), op.inputs[0]),)

    with pytest.raises(InternalError, match="flatten"):
        rewritten("%a = abs(%x) return %a as y", flatten)


def test_a_rule_that_emits_an_ill_typed_op_is_a_bug() -> None:
    @rule("tear", Unary)
    def tear(op: Op, rewriter: Rewriter) -> Replacement:
        return (rewriter.emit(Reshape((5,)), op.inputs[0]),)

    with pytest.raises(InternalError, match="'tear' at abs"):
        rewritten("%a = abs(%x) return %a as y", tear)


def test_rules_that_undo_each_other_are_named() -> None:
    def swap(old: Unary, new: Unary) -> Rule:
        def apply(op: Op, rewriter: Rewriter) -> Replacement:
            return (rewriter.emit(new, op.inputs[0]),) if op.kind == old else None

        return Rule(f"{old.mnemonic} = {new.mnemonic}", apply, (Unary,))

    with pytest.raises(InternalError, match="undo each other"):
        rewritten("%a = exp(%x) return %a as y", swap(EXP, LOG), swap(LOG, EXP))


def test_what_a_failing_rule_emitted_leaves_no_trace() -> None:
    @rule("nothing", Unary)
    def waver(op: Op, rewriter: Rewriter) -> Replacement:
        rewriter.emit(LOG, op.inputs[0])
        return None

    assert_gives("%a = abs(%x) return %a as y", "%a = abs(%x) return %a as y", waver)
