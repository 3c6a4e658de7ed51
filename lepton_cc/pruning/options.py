"""What is asked of a pruning, and what it gives."""

from dataclasses import dataclass

from lepton_cc.ir.graph import Graph
from lepton_cc.passes.prune.allocate import Sensitivity
from lepton_cc.passes.prune.pattern import UNSTRUCTURED, Pattern


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How a float model is to be pruned.

    sparsity: the share of all prunable weights that goes (2:4 takes half of each layer that it
    fits), or of the channels. channels: whole channels, `pattern` is not looked at then.
    keep: names of layers that stay as they are.
    """

    sparsity: float = 0.5
    pattern: Pattern = UNSTRUCTURED
    channels: bool = False
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrunedLayer:
    """What became of one layer.

    `error`: the share of its output's power that is lost, measured where it reads what the layers
    before it became. `channels`: those that it gives, before and after.
    """

    name: str
    num_weights: int
    num_zeros: int
    error: float
    channels: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The prepared float graph, the pruned one, and what happened to each layer.

    `sensitivities` are what a global budget was divided by; empty where there was none.
    """

    prepared: Graph
    graph: Graph
    layers: tuple[PrunedLayer, ...]
    sensitivities: tuple[Sensitivity, ...] = ()

    @property
    def sparsity(self) -> float:
        """The share of zeros in the weights that the pruned graph has left."""
        total = sum(layer.num_weights for layer in self.layers)
        return sum(layer.num_zeros for layer in self.layers) / total if total else 0.0
