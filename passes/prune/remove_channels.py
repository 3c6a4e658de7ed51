"""Removing channels: orders units of a group, solves for what reads them, shrinks every tensor."""

from collections.abc import Mapping, Sequence

import numpy as np

from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.channel_groups import ChannelGroup
from lepton_cc.passes.prune.contraction_weights import (
    PrunableLayer,
    prunable_layers,
    with_constants,
)
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.second_order import refitted
from lepton_cc.passes.prune.shrink_graph import Staying, shrunk


def removal_order(
    group: ChannelGroup, readers: Sequence[PrunableLayer], moments: Mapping[str, LayerMoments]
) -> tuple[int, ...]:
    """The numbers of all units but one, those first that go first.

    Each time that one goes without which the readers, their other weights solved for again, lose
    the least share of their output. Hassibi et al., Optimal Brain Surgeon (1993), for the rows of a
    unit together.
    """
    alive = list(range(len(group.units)))
    gone: list[int] = []
    states = [_Reader(layer, moments[layer.name].hessian, group) for layer in readers]
    while len(alive) > 1:
        costs = [sum(state.cost(unit) for state in states) for unit in alive]
        gone.append(alive.pop(int(np.argmin(costs))))
        for state in states:
            state.remove(gone[-1])
    return tuple(gone)


class _Reader:
    """One layer while rows are taken from it: its weights and the inverse of its Hessian."""

    def __init__(self, layer: PrunableLayer, hessian: Array, group: ChannelGroup) -> None:
        self._layer, self._group = layer, group
        self._weights, self._inverse = layer.matrices[0].copy(), np.linalg.inv(hessian[0])
        power = float(np.sum(self._weights * (hessian[0] @ self._weights)))
        self._scale = 1.0 / power if power > 0 else 0.0

    def cost(self, unit: int) -> float:
        """The share of the output that is lost without a unit."""
        rows = unit_rows(self._layer, self._group, unit)
        part = self._weights[rows]
        return self._scale * float(np.sum(part * self._solved(rows)))

    def remove(self, unit: int) -> None:
        """Takes a unit's rows out, and makes up for them."""
        rows = unit_rows(self._layer, self._group, unit)
        lines = self._inverse[:, rows]
        self._weights = self._weights - lines @ self._solved(rows)
        block = self._inverse[np.ix_(rows, rows)]
        self._inverse = self._inverse - lines @ np.linalg.solve(block, lines.T)
        self._weights[rows] = 0.0
        # Rows that are gone stay gone, whatever rounding leaves of them.
        self._inverse[rows], self._inverse[:, rows] = 0.0, 0.0
        self._inverse[rows, rows] = 1.0

    def _solved(self, rows: Array) -> Array:
        return np.linalg.solve(self._inverse[np.ix_(rows, rows)], self._weights[rows])


def unit_rows(layer: PrunableLayer, group: ChannelGroup, unit: int) -> Array:
    """The rows of a layer's matrix that multiply the channels of a unit, at every tap."""
    channels = np.asarray(group.units[unit].get(layer.op.inputs[0], ()), np.int64)
    taps = np.arange(layer.num_rows // layer.channels)[:, None] * layer.channels
    return (taps + channels).reshape(-1)


def removed_inputs(
    layer: PrunableLayer, hessian: Array, group: ChannelGroup, gone: Sequence[int]
) -> dict[Value, Array]:
    """The constants of a reader that does without some units, solved for on the data."""
    matrix = layer.matrices[0]
    stays = np.ones(matrix.shape, bool)
    # What an earlier group took from the layer stays gone.
    stays[: layer.num_rows][~matrix[: layer.num_rows].any(axis=1)] = False
    for unit in gone:
        stays[unit_rows(layer, group, unit)] = False
    return layer.from_matrices(refitted(matrix, hessian[0], stays)[None])


def removed_outputs(
    layer: PrunableLayer, group: ChannelGroup, gone: Sequence[int]
) -> dict[Value, Array]:
    """The constants of a layer that makes nothing of some units, by now only zeros."""
    matrix = layer.matrices
    for unit in gone:
        matrix[..., list(group.units[unit].get(layer.op.result, ()))] = 0.0
    return layer.from_matrices(matrix)


def zeroed(
    graph: Graph,
    group: ChannelGroup,
    gone: Sequence[int],
    moments: Mapping[str, LayerMoments],
) -> Graph:
    """The graph with zeros for some units of a group, their readers solved for."""
    arrays: dict[Value, Array] = {}
    for layer in prunable_layers(graph):
        if layer.name in group.readers:
            hessian = moments[layer.name].hessian
            arrays.update(removed_inputs(layer, hessian, group, gone))
    graph = with_constants(graph, arrays)
    arrays.clear()
    for layer in prunable_layers(graph):
        if layer.name in group.layers:
            arrays.update(removed_outputs(layer, group, gone))
    return with_constants(graph, arrays)


def without_units(graph: Graph, removals: Sequence[tuple[ChannelGroup, Sequence[int]]]) -> Graph:
    """The graph without some units of each of several of its groups.

    All at once: groups share values, for example concatenations.
    """
    return shrunk(graph, _staying(removals))


def kept_channels(removals: Sequence[tuple[ChannelGroup, Sequence[int]]]) -> dict[str, Array]:
    """The channels that stay when some units go, by names of the values that lose some."""
    return {
        value.name: one.elements
        for value, one in _staying(removals).items()
        if one.axis == value.type.rank - 1
    }


def _staying(removals: Sequence[tuple[ChannelGroup, Sequence[int]]]) -> dict[Value, Staying]:
    """What stays of each value that loses something."""
    masks: dict[Value, Array] = {}
    axes: dict[Value, int] = {}
    for group, gone in removals:
        left = [group.units[unit] for unit in gone]
        left += [one.members for one in group.followers if set(one.needs) <= set(gone)]
        for members in left:
            for value, elements in members.items():
                axes[value] = group.axis(value)
                every = np.ones(value.type.dims[axes[value]], bool)
                masks.setdefault(value, every)[list(elements)] = False
    return {value: Staying(axes[value], np.flatnonzero(mask)) for value, mask in masks.items()}
