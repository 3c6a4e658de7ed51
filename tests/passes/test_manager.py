"""The pass manager: verification, records, repetition, observers; pipelines as text."""

import enum
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from lepton_cc.ir.diagnostics import (
    Code,
    InternalError,
    Refused,
    UsageError,
    VerificationError,
    refuse,
)
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.lir_file import read_lir
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.verifier import Stage
from lepton_cc.passes.catalogue import PASSES
from lepton_cc.passes.manager import Pass, PassManager, Repeat
from lepton_cc.passes.observers import DumpGraphs, PrintAfter
from lepton_cc.passes.pipeline_text import parse_pipeline
from lepton_cc.passes.registry import PassRegistry

GRAPH = parse_graph("graph g(%x: f32[4]) { %a = abs(%x) %b = neg(%a) %c = exp(%b) return %c as y }")


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class DropLast(Pass):
    """Makes the last op's operand the output, down to `keep` ops."""

    NAME: ClassVar[str] = "drop-last"
    keep: int = 0
    colour: Colour = Colour.RED
    fast: bool = False

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        if len(graph.ops) <= self.keep:
            return graph
        statistics.count("drop")
        outputs = graph.ops[-1].inputs
        return Graph(graph.name, graph.inputs, outputs, graph.output_names, graph.ops[:-1])


@dataclass(frozen=True, slots=True)
class Tear(Pass):
    """Leaves a graph whose output nobody computes."""

    NAME: ClassVar[str] = "tear"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return graph.with_ops(graph.ops[:-1])


@dataclass(frozen=True, slots=True)
class Fail(Pass):
    """Raises what its neighbours might: a bug, or a refusal of the user's wish."""

    NAME: ClassVar[str] = "fail"
    refuse: bool = False

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        if self.refuse:
            raise refuse(Code.UNSUPPORTED_FORM, "cannot")
        raise ZeroDivisionError("division by zero")


@dataclass(frozen=True, slots=True)
class Bind(Pass):
    """Only says that dimensions are bound."""

    NAME: ClassVar[str] = "bind"
    LEAVES: ClassVar[Stage] = Stage.STATIC

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return graph


REGISTRY = PassRegistry()
REGISTRY.add(DropLast)
REGISTRY.add(Tear)


def test_a_broken_pass_is_named_with_the_node() -> None:
    with pytest.raises(VerificationError, match=r"pass tear:(.|\n)*%c, which is not defined"):
        PassManager([DropLast(3), Tear()]).run(GRAPH)


def test_a_bug_names_its_pass_and_a_refusal_stays_one() -> None:
    with pytest.raises(InternalError, match=r"pass fail: ZeroDivisionError\('division by zero'\)"):
        PassManager([Fail()]).run(GRAPH)
    with pytest.raises(Refused, match="cannot"):
        PassManager([Fail(refuse=True)]).run(GRAPH)


def test_the_given_graph_is_verified_first() -> None:
    with pytest.raises(VerificationError, match="%c"):
        PassManager([]).run(GRAPH.with_ops(GRAPH.ops[:-1]))


def test_records_say_what_each_pass_did() -> None:
    manager = PassManager([DropLast(2), DropLast(2)])
    assert len(manager.run(GRAPH).ops) == 2
    first, second = manager.records
    assert (first.num_ops_before, first.num_ops_after, first.changed) == (3, 2, True)
    assert first.rewrites == (("drop", 1),)
    assert (second.changed, second.rewrites) == (False, ())
    assert first.seconds >= 0
    assert [record.number for record in manager.records] == [1, 2]


def test_repeat_stops_when_nothing_changes_and_at_its_limit() -> None:
    manager = PassManager([Repeat((DropLast(),))])
    assert manager.run(GRAPH).ops == ()
    assert len(manager.records) == 4
    assert len(PassManager([Repeat((DropLast(),), limit=2)]).run(GRAPH).ops) == 1


def test_a_pass_moves_the_graph_to_its_stage() -> None:
    manager = PassManager([Bind(), DropLast()])
    manager.run(GRAPH)
    assert manager.stage is Stage.STATIC
    open_graph = parse_graph("graph g(%x: f32[?N]) { return %x as y }")
    with pytest.raises(VerificationError, match=r"pass bind:(.|\n)*a dimension is open"):
        PassManager([Bind()]).run(open_graph)


def test_dumps_are_numbered_by_change_and_share_an_archive(tmp_path: Path) -> None:
    graph = parse_graph(
        "graph g(%x: f32[4]) { %w = constant f32[16] (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,"
        " 14, 15, 16) %s = slice(%w) {starts = (0), sizes = (4), steps = (1)} %y = add(%x, %s)"
        " %z = exp(%y) return %z as y }"
    )
    folder = tmp_path / "dump"
    pipeline = [DropLast(9), DropLast(3), DropLast(3)]
    after = PassManager(pipeline, [DumpGraphs(folder)]).run(graph)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["00-import.lir", "01-drop-last.lir", "constants.npz"]
    assert read_lir(folder / "00-import.lir") == graph
    assert read_lir(folder / "01-drop-last.lir") == after


def test_printing_after_named_passes_and_after_all_that_changed() -> None:
    named, everything = io.StringIO(), io.StringIO()
    observers = [PrintAfter(["drop-last"], named), PrintAfter(["all"], everything)]
    PassManager([DropLast(2), DropLast(2)], observers).run(GRAPH)
    assert named.getvalue().count("// after drop-last\n") == 2
    assert everything.getvalue().count("// after") == 2
    assert "// after import\ngraph g(" in everything.getvalue()


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("drop-last", (DropLast(),)),
        (" drop-last , tear ", (DropLast(), Tear())),
        ("drop-last{keep=2,fast=true,colour=red}", (DropLast(2, Colour.RED, True),)),
        ("(drop-last,tear)*,tear", (Repeat((DropLast(), Tear())), Tear())),
    ],
)
def test_pipelines_are_read(text: str, steps: tuple[Pass, ...]) -> None:
    assert parse_pipeline(text, REGISTRY) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no pass ''"),
        ("nosuch", "there is no pass 'nosuch'; there are drop-last, tear"),
        ("drop-last,", "no pass ''"),
        ("drop-last tear", "expected the end, found 'tear'"),
        ("drop-last{depth=1}", "no option 'depth'; it has keep, colour, fast"),
        ("drop-last{keep=two}", "keep=two is not of type int"),
        ("drop-last{fast=1}", "fast=1 is not of type bool"),
        ("drop-last{colour=blue}", "is not of type Colour"),
        ("drop-last{keep=1", "expected '}'"),
        ("(drop-last", "expected '\\)'"),
        ("(drop-last)", "expected '\\*'"),
        ("drop-last;tear", "unexpected ';'"),
        ("(" * 40, "deeper"),
    ],
)
def test_malformed_pipelines_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_pipeline(text, REGISTRY)


def test_the_registry_refuses_a_duplicate() -> None:
    with pytest.raises(InternalError, match="registered twice"):
        REGISTRY.add(Tear)


def test_every_pass_of_the_catalogue_has_a_manual_and_default_options() -> None:
    for name in PASSES.names():
        pass_class = PASSES[name]
        assert pass_class.__doc__, name
        assert name == pass_class().NAME
