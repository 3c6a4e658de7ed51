"""What is asked of a factorization, and what it gives."""

from dataclasses import dataclass

from lepton_cc.ir.graph import Graph
from lepton_cc.passes.low_rank.allocate import Budget
from lepton_cc.passes.low_rank.form import Cost, Plan
from lepton_cc.reconstruction.outputs import FitOptions, OutputFit


@dataclass(frozen=True, slots=True)
class LowRankOptions:
    """How much of a float model factors are to save.

    share: of all MACs, or bytes of weights, of convolutions and products. max_error: the share of
    the power of its outputs that a layer may miss. keep: names of layers that stay as they are.
    refit: whether layers that stay whole are fitted to what those before them became. fit: how the
    whole model is fitted to the original's outputs afterwards; None: it is not.
    """

    share: float = 0.3
    budget: Budget = Budget.MACS
    max_error: float = 0.25
    keep: tuple[str, ...] = ()
    refit: bool = True
    fit: FitOptions | None = None


@dataclass(frozen=True, slots=True)
class LowRankLayer:
    """What became of one layer; `plan` is None, and `reason` says why, if it stayed whole.

    error: the share of its outputs' power that is missed, where it reads what the layers before it
    became; None if it was neither split nor fitted.
    """

    name: str
    nodes: tuple[str, ...]
    plan: Plan | None
    before: Cost
    after: Cost
    error: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LowRankResult:
    """The prepared float graph, the factorized one, and what happened to each layer.

    `fit` is the one of the whole model, if it was asked for.
    """

    prepared: Graph
    graph: Graph
    layers: tuple[LowRankLayer, ...]
    fit: OutputFit | None = None

    @property
    def before(self) -> Cost:
        """Of all layers, as they were."""
        return sum((layer.before for layer in self.layers), Cost(0, 0))

    @property
    def after(self) -> Cost:
        """Of all layers, as they are."""
        return sum((layer.after for layer in self.layers), Cost(0, 0))
