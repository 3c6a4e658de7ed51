"""Orders channels for n:m zeros: of each m neighbours, n are to hold what counts.

Which channels are neighbours is free as long as all that make and read them agree. Pool and Yu,
Channel Permutations for N:M Sparsity (2021): channels change places as long as that pays.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.channel_groups import ChannelGroup
from lepton_cc.passes.prune.contraction_weights import PrunableLayer
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.pattern import Pattern
from lepton_cc.passes.prune.remove_channels import unit_rows
from lepton_cc.passes.prune.shrink_graph import Staying, shrunk

# Columns that are looked at, and pairs of neighbourhoods that are tried before the last sweep, both
# at even distances: bounds of some ten seconds for a group.
_MOST_COLUMNS, _MOST_PAIRS = 1024, 4000
# Of what is lost: an exchange that gains less is noise.
_LEAST_GAIN = 1e-9


def can_be_ordered(group: ChannelGroup, readers: Sequence[PrunableLayer], pattern: Pattern) -> bool:
    """Whether the neighbours that a pattern sees are neighbours of the group."""
    count = len(group.units)
    if group.axes or count % pattern.rows or not readers:
        return False
    return all(
        channel % count == number
        for layer in readers
        for number, unit in enumerate(group.units)
        for channel in unit.get(layer.op.inputs[0], (-1,))
    )


def removal_costs(
    group: ChannelGroup, readers: Sequence[PrunableLayer], moments: Mapping[str, LayerMoments]
) -> Array:
    """What each weight that reads a unit is worth, f64[units, columns].

    Shares of the power that its layer gives, if it alone went (Hassibi et al., Optimal Brain
    Surgeon, 1993).
    """
    columns = []
    for layer in readers:
        weights, hessian = layer.matrices[0], moments[layer.name].hessian[0]
        power = max(float(np.sum(weights * (hessian @ weights))), 1e-30)
        losses = weights**2 / (np.diag(np.linalg.inv(hessian))[:, None] * power)
        rows = [unit_rows(layer, group, unit) for unit in range(len(group.units))]
        columns.append(np.stack([losses[one].reshape(-1) for one in rows]))
    return np.concatenate(columns, axis=1)


def channel_order(costs: Array, pattern: Pattern) -> Array:
    """The order of units, i64[units], in which an n:m pattern loses little.

    costs: f64[units, columns], as `removal_costs` gives them.
    """
    every = -(-costs.shape[1] // _MOST_COLUMNS)
    costs, height = costs[:, ::every], pattern.rows
    gone = height - pattern.nonzeros
    order = np.arange(len(costs)).reshape(-1, height)
    pairs = list(combinations(range(len(order)), 2))
    pairs = pairs[:: -(-len(pairs) // _MOST_PAIRS) or 1]
    tried, improved = 0, True
    while improved and tried < _MOST_PAIRS:
        improved = False
        tried += len(pairs)
        for one, other in pairs:
            found = _exchanged(costs, order[one], order[other], gone)
            if found is not None:
                order[one], order[other] = found
                improved = True
    return np.sort(order, axis=1).reshape(-1)


def _exchanged(costs: Array, one: Array, other: Array, gone: int) -> tuple[Array, Array] | None:
    """Two neighbourhoods after the best exchange of a unit; None if there is none that pays."""
    before = _lost(costs[one], gone) + _lost(costs[other], gone)
    places = np.arange(len(one))
    # By what leaves `one` and what leaves `other`: [m, m, m].
    first = np.broadcast_to(one, (len(one), len(one), len(one))).copy()
    second = np.broadcast_to(other, first.shape).copy()
    first[places, :, places] = other
    second[:, places, places] = one[:, None]
    lost = _lost(costs[first], gone) + _lost(costs[second], gone)
    best = np.unravel_index(int(np.argmin(lost)), lost.shape)
    if lost[best] >= before * (1 - _LEAST_GAIN):
        return None
    return first[best], second[best]


def _lost(costs: Array, gone: int) -> Array:
    """What goes of [..., m, columns] when the `gone` least of each m do, [...]."""
    return np.asarray(np.partition(costs, gone - 1, axis=-2)[..., :gone, :].sum(axis=(-2, -1)))


def reordered(
    graph: Graph, orders: Sequence[tuple[ChannelGroup, Array]]
) -> tuple[Graph, dict[str, Array]]:
    """The graph with the units of some groups in another order, which computes the same.

    Beside it the channels of before, by names of the values that have them in another order.
    """
    stays = _staying(orders)
    return shrunk(graph, stays), {value.name: one.elements for value, one in stays.items()}


def _staying(orders: Sequence[tuple[ChannelGroup, Array]]) -> dict[Value, Staying]:
    found: dict[Value, Staying] = {}
    for group, order in orders:
        for place, source in enumerate(order):
            for value, channels in group.units[place].items():
                axis = group.axis(value)
                every = Staying(axis, np.arange(value.type.dims[axis]))
                elements = found.setdefault(value, every).elements
                elements[list(channels)] = group.units[source][value]
    return found
