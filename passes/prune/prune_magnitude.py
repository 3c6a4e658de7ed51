"""Magnitude pruning: the smallest weights become zero, the others stay as they are."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants


@dataclass(frozen=True, slots=True)
class PruneMagnitude(Pass):
    """Makes the smallest weights of convolutions and products zero.

    `sparsity` is the share of zeros: of all weights together, or, with `per_layer`, of each layer.
    Needs no data and makes up for nothing. Accepts any float graph.
    """

    NAME: ClassVar[str] = "prune-magnitude"
    sparsity: float = 0.5
    per_layer: bool = False

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        layers = prunable_layers(graph)
        sizes = [np.abs(layer.weights) for layer in layers]
        if self.per_layer:
            limits = [_limit(one.reshape(-1), self.sparsity) for one in sizes]
        else:
            everything = np.concatenate([np.zeros(0), *(one.reshape(-1) for one in sizes)])
            limits = [_limit(everything, self.sparsity)] * len(layers)
        changed = {}
        for layer, size, limit in zip(layers, sizes, limits, strict=True):
            gone = size <= limit
            changed[layer.op.inputs[1]] = np.where(gone, np.float32(0), layer.weights)
            statistics.count("zero a weight", int(np.count_nonzero(gone)))
        return with_constants(graph, changed)


def _limit(sizes: np.ndarray, sparsity: float) -> float:
    """The size up to which `sparsity` of all lie; below zero if none goes."""
    count = round(sparsity * sizes.size)
    return float(np.partition(sizes, count - 1)[count - 1]) if count else -1.0
