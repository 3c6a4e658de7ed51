"""What a stage of a compression is: a graph and samples in; a graph and what was done to it out.

`compress` runs stages in the order that it is given: what removes weights or factors them first,
rounding them last, because each solves for what those before it have left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.ir.diagnostics import Diagnostic
from lepton_cc.ir.graph import Graph
from lepton_cc.passes.manager import Observer


@dataclass(frozen=True, slots=True)
class StageContext:
    """What every stage may know.

    original: the float graph before the first stage, its batch normalizations folded: what the
    results are to be like. data: samples of its inputs, to be run through as often as one likes.
    observers: of passes; the graph that a stage is given they have seen already.
    """

    original: Graph
    data: CalibrationData
    observers: tuple[Observer, ...] = ()


@dataclass(frozen=True, slots=True)
class StageTable:
    """What a stage did, for people: a row for each layer that it looked at."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]


@dataclass(frozen=True, slots=True)
class StageResult:
    """The graph that a stage leaves; `report` is for JSON, `diagnostics` are notes to the user.

    original: what later stages compare with from now on, if the stage put channels into another
    order.
    """

    graph: Graph
    report: Mapping[str, object] = field(default_factory=dict)
    diagnostics: Sequence[Diagnostic] = ()
    table: StageTable | None = None
    original: Graph | None = None


class Stage(Protocol):
    """A way to make a model smaller; a frozen dataclass whose fields are its options."""

    @property
    def name(self) -> str:
        """What reports call it: prune, low-rank, quantize."""

    def run(self, graph: Graph, context: StageContext) -> StageResult:
        """Makes the graph smaller.

        Raises:
            Refused: nothing in the graph can be made smaller so.
            UsageError: an option makes no sense.
        """
