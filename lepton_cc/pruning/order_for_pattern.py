"""The order of channels that suits an n:m pattern, by calibration data, before zeros are chosen."""

from collections.abc import Sequence

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.channel_groups import channel_groups
from lepton_cc.passes.prune.contraction_weights import PrunableLayer
from lepton_cc.passes.prune.order_channels import (
    can_be_ordered,
    channel_order,
    removal_costs,
    reordered,
)
from lepton_cc.passes.prune.pattern import Pattern
from lepton_cc.pruning.reader_moments import reader_moments


def ordered_for_pattern(
    prepared: Graph,
    layers: Sequence[PrunableLayer],
    data: CalibrationData,
    pattern: Pattern,
    keep: tuple[str, ...],
) -> tuple[Graph, dict[str, Array]]:
    """The graph that computes the same with other neighbours, and where its channels were.

    layers: those that get zeros. keep: names of layers whose weights stay as they are.
    The channels are by names of the values that have them in another order.
    """
    pruned = {layer.name: layer for layer in layers}
    free = []
    for group in channel_groups(prepared):
        readers = [pruned[name] for name in group.readers if name in pruned]
        is_kept = bool({*group.layers, *group.readers} & set(keep))
        if not is_kept and can_be_ordered(group, readers, pattern):
            free.append((group, readers))
    moments = reader_moments(prepared, [group for group, _ in free], data)
    orders = []
    for group, readers in free:
        order = channel_order(removal_costs(group, readers, moments), pattern)
        if not np.array_equal(order, np.arange(len(order))):
            orders.append((group, order))
    if not orders:
        return prepared, {}
    return reordered(prepared, orders)
