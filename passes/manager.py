"""Passes and the manager that runs them: verified after each, timed, counted, observable.

A pipeline is a sequence of passes and of `Repeat` groups. The manager gives observers every graph:
first the one it was given, as "import", then the one after each pass.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.diagnostics import InternalError, UsageError, UserError, VerificationError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.verifier import Stage, verify


@dataclass(frozen=True, slots=True)
class Pass:
    """Base of the passes: the fields of a subclass are its options, its docstring is its manual.

    `LEAVES` names the stage that the graph is in afterwards; None: the one that it was in.
    """

    NAME: ClassVar[str] = ""
    LEAVES: ClassVar[Stage | None] = None

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        """The graph after the pass; each rewrite is counted under the name of its law.

        Raises:
            Refused: the pass cannot do what the user asked for with this graph.
        """
        raise InternalError(f"pass {self.NAME!r} does not define run")


@dataclass(frozen=True, slots=True)
class Repeat:
    """Runs its passes in turn until none changes the graph, at most `limit` rounds."""

    passes: tuple["Step", ...]
    limit: int = 8


Step = Pass | Repeat


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one run of a pass did; `rewrites` holds (law, how often)."""

    number: int
    name: str
    num_ops_before: int
    num_ops_after: int
    seconds: float
    changed: bool
    rewrites: tuple[tuple[str, int], ...] = ()


Observer = Callable[[PassRecord, Graph], None]


class PassManager:
    """Runs a pipeline; `records` holds what each pass did, in order."""

    def __init__(
        self,
        steps: Sequence[Step],
        observers: Sequence[Observer] = (),
        stage: Stage = Stage.IMPORTED,
    ) -> None:
        self._steps = tuple(steps)
        self._observers = tuple(observers)
        self._first_stage = stage
        self._stage = stage
        self._records: list[PassRecord] = []

    @property
    def records(self) -> tuple[PassRecord, ...]:
        """What each pass did in the last run."""
        return tuple(self._records)

    @property
    def stage(self) -> Stage:
        """The stage of the graph that the last run gave."""
        return self._stage

    def run(self, graph: Graph) -> Graph:
        """The graph after all passes.

        Raises:
            VerificationError: the given graph, or the graph after a pass, breaks a law.
            InternalError: a pass failed; the text names it.
        """
        self._records.clear()
        self._stage = self._first_stage
        verify(graph, self._stage)
        num_ops = len(graph.ops)
        self._observe(PassRecord(0, "import", num_ops, num_ops, 0.0, changed=True), graph)
        for step in self._steps:
            graph = self._run_step(step, graph)
        return graph

    def _run_step(self, step: Step, graph: Graph) -> Graph:
        if isinstance(step, Pass):
            return self._run_pass(step, graph)
        for _ in range(step.limit):
            before = graph
            for inner in step.passes:
                graph = self._run_step(inner, graph)
            if graph == before:
                break
        return graph

    def _run_pass(self, pass_: Pass, graph: Graph) -> Graph:
        statistics = Statistics()
        started = time.perf_counter()
        try:
            after = pass_.run(graph, statistics)
            self._stage = pass_.LEAVES or self._stage
            verify(after, self._stage)
        except (UserError, UsageError):
            raise
        except VerificationError as error:
            raise VerificationError(f"pass {pass_.NAME}: {error}") from error
        except Exception as error:
            what = str(error) if isinstance(error, InternalError) else repr(error)
            raise InternalError(f"pass {pass_.NAME}: {what}") from error
        record = PassRecord(
            len(self._records) + 1,
            pass_.NAME,
            len(graph.ops),
            len(after.ops),
            time.perf_counter() - started,
            after != graph,
            statistics.counts,
        )
        self._records.append(record)
        self._observe(record, after)
        return after

    def _observe(self, record: PassRecord, graph: Graph) -> None:
        for observer in self._observers:
            observer(record, graph)
