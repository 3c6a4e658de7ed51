"""A student with fewer channels than the original: which go, for how many multiply-adds.

Channels inside of residual blocks, which one layer makes, go first: the trunk keeps its width, so
that the student can be taught what the original has there, and not only what it answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lepton_cc.calibration.data import CalibrationData, calibration_data
from lepton_cc.codegen.costs import num_macs
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.channel_groups import ChannelGroup, channel_groups
from lepton_cc.passes.prune.contraction_weights import prunable_layers
from lepton_cc.passes.prune.remove_channels import (
    kept_channels,
    removal_order,
    removed_inputs,
    without_units,
    zeroed,
)
from lepton_cc.passes.prune.second_order import relative_error
from lepton_cc.pruning.reader_moments import reader_moments
from lepton_cc.reconstruction.layers import reconstruct_layers

_NUM_SHARES = 32
# Of a group's channels, as long as there are others.
_MOST_INSIDE = 0.75


@dataclass(frozen=True, slots=True)
class Student:
    """A graph, and by the names of values that are narrower in it their channels of before."""

    graph: Graph
    channels: Mapping[str, Array] = field(default_factory=dict)


def total_macs(graph: Graph) -> int:
    """Multiply-adds of one run."""
    return sum(map(num_macs, graph.ops))


def narrow_student(graph: Graph, samples: Mapping[str, Array], share: float) -> Student:
    """The graph with at most `share` of its multiply-adds, what reads fewer channels solved for.

    First those channels go that one layer makes, then, if that is not enough, any: each time where
    the least share of what readers give is lost for a multiply-add.

    Raises:
        Refused: so many channels cannot go.
    """
    groups = channel_groups(graph)
    inside = tuple(group for group in groups if len(group.layers) == 1)
    most = share * total_macs(graph)
    for chosen, largest in ((inside, _MOST_INSIDE), (groups, 1.0)):
        if not chosen:
            continue
        removal = _Removal(graph, calibration_data(graph, samples), chosen)
        counts = removal.counts(most, largest)
        if counts is not None:
            return removal.narrowed(counts)
    raise refuse(
        Code.UNSUPPORTED_FORM,
        f"no removal of channels leaves {share:.0%} of the multiply-adds",
        hint="ask for a larger share, or give a student as an ONNX file",
    )


class _Removal:
    """What may go of some groups of a graph's channels: in what order, and what is lost."""

    def __init__(self, graph: Graph, data: CalibrationData, groups: Sequence[ChannelGroup]) -> None:
        self._graph, self._data, self._groups = graph, data, groups
        layers = {layer.name: layer for layer in prunable_layers(graph)}
        self._readers = {name: layers[name] for group in groups for name in group.readers}
        self._moments = reader_moments(graph, groups, data)
        self._orders = [
            removal_order(group, [self._readers[name] for name in group.readers], self._moments)
            for group in groups
        ]
        # By group and count: asked for again as long as another group is the next to lose some.
        self._losses: dict[tuple[int, int], float] = {}

    def counts(self, most: float, largest: float) -> list[int] | None:
        """How many of each group go for at most so many multiply-adds; None if that cannot be.

        largest: the share of a group that may go.
        """
        sizes = [len(group.units) for group in self._groups]
        counts = [0] * len(sizes)
        macs, losses = total_macs(self._graph), [0.0] * len(sizes)
        while macs > most:
            steps = []
            for number, size in enumerate(sizes):
                count = counts[number] + max(size // _NUM_SHARES, 1)
                if count > min(round(largest * size), size - 1):
                    continue
                smaller = self._macs([*counts[:number], count, *counts[number + 1 :]])
                if smaller < macs:
                    loss = self._loss(number, count)
                    price = (loss - losses[number]) / (macs - smaller)
                    steps.append((price, number, count, smaller, loss))
            if not steps:
                return None
            _, number, counts[number], macs, losses[number] = min(steps)
        return counts

    def _macs(self, counts: Sequence[int]) -> int:
        """Those that are left, whichever channels go."""
        pairs = zip(self._groups, map(range, counts), strict=True)
        return total_macs(without_units(self._graph, tuple(pairs)))

    def _loss(self, number: int, count: int) -> float:
        """The sum of the shares that readers of a group lose with so many of its channels."""
        if (number, count) in self._losses:
            return self._losses[number, count]
        group, total = self._groups[number], 0.0
        for name in group.readers:
            layer, hessian = self._readers[name], self._moments[name].hessian
            changed = removed_inputs(layer, hessian, group, self._orders[number][:count])
            after = replace(
                layer,
                weights=changed[layer.op.inputs[1]],
                bias=None if layer.bias is None else changed[layer.op.inputs[2]],
            )
            has_bias = layer.bias is not None
            total += relative_error(layer.matrices, after.matrices, hessian, has_bias=has_bias)
        self._losses[number, count] = total
        return total

    def narrowed(self, counts: Sequence[int]) -> Student:
        """The graph without so many channels of each group, those that are missed least."""
        narrowed = self._graph
        gone = [order[:count] for order, count in zip(self._orders, counts, strict=True)]
        for group, units in zip(self._groups, gone, strict=True):
            narrowed = zeroed(narrowed, group, units, self._moments)
        narrowed = reconstruct_layers(self._graph, narrowed, self._data).graph
        removals = list(zip(self._groups, gone, strict=True))
        return Student(without_units(narrowed, removals), kept_channels(removals))
