"""The canonicalization pass: sweeps the laws of its neighbour files until none applies."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Rule, Statistics, rewrite
from lepton_cc.passes.canonicalize.arithmetic import RULES as ARITHMETIC
from lepton_cc.passes.canonicalize.arithmetic import reassociate_floats
from lepton_cc.passes.canonicalize.broadcasts import RULES as BROADCASTS
from lepton_cc.passes.canonicalize.casts import RULES as CASTS
from lepton_cc.passes.canonicalize.joins import RULES as JOINS
from lepton_cc.passes.canonicalize.powers import RULES as POWERS
from lepton_cc.passes.canonicalize.selections import RULES as SELECTIONS
from lepton_cc.passes.canonicalize.views import RULES as VIEWS
from lepton_cc.passes.canonicalize.views import transpose_of_units
from lepton_cc.passes.canonicalize.windows import RULES as WINDOWS
from lepton_cc.passes.manager import Pass

_RULES: tuple[Rule, ...] = (
    *ARITHMETIC,
    *POWERS,
    *SELECTIONS,
    *CASTS,
    *VIEWS,
    *JOINS,
    *BROADCASTS,
    *WINDOWS,
)


@dataclass(frozen=True, slots=True)
class Canonicalize(Pass):
    """Applies algebraic laws: drops neutral ops, merges chains, orders operands.

    Every law keeps each bit of the result, NaN and -0.0 included; x ** n alone becomes products
    within the accuracy that `pow` promises. Nothing is reassociated in floating point unless
    `reassociate` says so: (x + a) + b -> x + (a + b) and the same for products.

    `reshape_transposes` turns transposes that only move dimensions of size 1 into reshapes; switch
    it off before the layout is decided.
    """

    NAME: ClassVar[str] = "canonicalize"
    reassociate: bool = False
    reshape_transposes: bool = True

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        rules = list(_RULES)
        if self.reassociate:
            rules.append(reassociate_floats)
        if self.reshape_transposes:
            rules.append(transpose_of_units)
        return rewrite(graph, rules, statistics)
