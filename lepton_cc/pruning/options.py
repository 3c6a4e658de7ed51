"""What is asked of a pruning, and what it gives."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.allocate import Sensitivity
from lepton_cc.passes.prune.pattern import UNSTRUCTURED, Pattern, named_pattern
from lepton_cc.reconstruction.outputs import FitOptions, OutputFit


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How a float model is to be pruned.

    sparsity: the share of all prunable weights that goes (n:m takes its own of each layer that it
    fits), or of the channels or heads. channels, heads: whole channels, or whole attention heads;
    `pattern` is not looked at then. arena: of channels, those first without which the arena is
    smaller by the share.
    keep: names of layers that stay as they are. fit: how the whole model is fitted to the original
    one's outputs afterwards; None: it is not.
    """

    sparsity: float = 0.5
    pattern: Pattern = UNSTRUCTURED
    channels: bool = False
    heads: bool = False
    arena: bool = False
    keep: tuple[str, ...] = ()
    fit: FitOptions | None = None

    @property
    def title(self) -> str:
        """What is done, as users write it."""
        if self.channels or self.heads:
            units = "channels-arena" if self.arena else "channels"
            return f"{units if self.channels else 'heads'}:{self.sparsity:g}"
        if self.pattern.share is not None:
            return self.pattern.name
        return f"{self.pattern.name}:{self.sparsity:g}"


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """What became of one layer, and of which ONNX nodes it is.

    `error`: the share of its output's power that is lost, measured where it reads what the layers
    before it became. `channels`: those that it gives, before and after.
    """

    name: str
    nodes: tuple[str, ...]
    num_weights: int
    num_zeros: int
    error: float
    channels: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The prepared float graph, the pruned one, and what happened to each layer.

    `prepared` has the channels in the order in which the pruned graph has them. `sensitivities` are
    what a global budget was divided by; empty where there was none. `kept` holds the channels of
    the original that stayed, in their new order, by the names of values that lost some or have them
    in another order. `fit` is the one of the whole model, if it was asked for. `note`: what was
    asked for and could not be had, if anything.
    """

    prepared: Graph
    graph: Graph
    layers: tuple[PrunedLayer, ...]
    sensitivities: tuple[Sensitivity, ...] = ()
    kept: Mapping[str, Array] = field(default_factory=dict)
    fit: OutputFit | None = None
    note: str = ""

    @property
    def sparsity(self) -> float:
        """The share of zeros in the weights that the pruned graph has left."""
        total = sum(layer.num_weights for layer in self.layers)
        return sum(layer.num_zeros for layer in self.layers) / total if total else 0.0


def read_options(text: str, fit: FitOptions | None = None) -> PruneOptions:
    """Options from `unstructured:0.5`, `2:4`, `blocks-1x16:0.75`, `channels:0.3`, `heads:0.25` ...

    Raises:
        UsageError: it is none of them.
    """
    pattern = named_pattern(text)
    if pattern is not None and pattern.share is not None:
        return PruneOptions(pattern.share, pattern, fit=fit)
    name, _, number = text.rpartition(":")
    pattern = named_pattern(name)
    if re.fullmatch(r"0?\.\d*[1-9]\d*", number):
        if name in ("channels", "channels-arena"):
            return PruneOptions(
                float(number), channels=True, arena=name == "channels-arena", fit=fit
            )
        if name == "heads":
            return PruneOptions(float(number), heads=True, fit=fit)
        if pattern is not None and pattern.share is None:
            return PruneOptions(float(number), pattern, fit=fit)
    raise UsageError(
        f"{text!r} says no way to prune: "
        "unstructured:0.5, 2:4, blocks-1x16:0.75, channels:0.3, channels-arena:0.3, heads:0.25"
    )
