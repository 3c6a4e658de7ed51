"""Removal of whole channels and heads with data: what is missed least, and what makes up for it.

Channels of a group go in the order in which the layers that read them miss them least; how many of
each group, is decided by what the model's output then loses. Before tensors shrink, all layers are
solved for in turn to give what the original ones gave (He et al., Channel Pruning, 2017).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.calibration.judged_values import judged
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.allocate import Sensitivity, allocate
from lepton_cc.passes.prune.channel_groups import ChannelGroup, channel_groups
from lepton_cc.passes.prune.contraction_weights import prunable_layers
from lepton_cc.passes.prune.head_groups import head_groups
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.remove_channels import (
    kept_channels,
    removal_order,
    without_units,
    zeroed,
)
from lepton_cc.pruning.arena_levels import ArenaLevels, arena_bytes, levels_for_arena
from lepton_cc.pruning.options import PrunedLayer, PruneResult
from lepton_cc.pruning.reader_moments import reader_moments
from lepton_cc.reconstruction.layers import reconstruct_layers
from lepton_cc.reconstruction.thinned import thinned

# No group loses more than this multiple of the wanted share: many tensors shrink rather than few
# to nothing.
_MOST_OF_SHARE, _MOST = 5 / 3, 0.9
# Channels go so many at a time from groups of so many or more: what is left fills vectors. Peaks
# of memory are met by half as many.
_GRANULES = ((32, 8), (16, 4), (0, 1))
# Samples on which the output is compared.
_NUM_COMPARED = 128


@dataclass(frozen=True, slots=True)
class _Order:
    """A group, and its units in the order of removal; `is_fine`: by half as many as else."""

    group: ChannelGroup
    units: tuple[int, ...]
    is_fine: bool = False

    @property
    def name(self) -> str:
        """That of the first layer."""
        return self.group.layers[0]

    @property
    def granule(self) -> int:
        """How many units go at a time: heads, which are several channels each, alone."""
        count = len(self.group.units)
        if self.group.axes:
            return 1
        whole = next(g for least, g in _GRANULES if count >= least and count % g == 0)
        return max(1, whole // 2) if self.is_fine else whole

    def levels(self, share: float) -> tuple[float, ...]:
        """The shares of the group that may go, if `share` of all channels are to."""
        count = len(self.group.units)
        most = max(self.granule, int(min(_MOST, _MOST_OF_SHARE * share) * count + 1e-9))
        return tuple(one / count for one in range(0, min(most, count - 1) + 1, self.granule))

    def gone(self, share: float) -> tuple[int, ...]:
        """The units without which at least a share of the group is gone; one always stays."""
        granules = math.ceil(share * len(self.group.units) / self.granule - 1e-9)
        return self.units[: granules * self.granule]


def prune_channels(
    prepared: Graph,
    data: CalibrationData,
    share: float,
    keep: tuple[str, ...],
    *,
    arena: bool = False,
) -> PruneResult:
    """Removes a share of all channels that layers make.

    arena: first those without which the arena is smaller by that share.

    Raises:
        Refused: all channels are bound to the interface or to ops that cannot lose them.
    """
    groups = [group for group in channel_groups(prepared) if not set(group.layers) & set(keep)]
    if not groups:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "no channels of the model can be removed",
            hint="prune single weights or blocks of them",
        )
    return _without_share(prepared, data, share, keep, groups, arena=arena)


def prune_heads(
    prepared: Graph, data: CalibrationData, share: float, keep: tuple[str, ...]
) -> PruneResult:
    """Removes a share of all attention heads; those of keys and values go with their last reader.

    Raises:
        Refused: there are no heads, or all are bound to the interface or to ops that mix them.
    """
    found = head_groups(prepared)
    groups = [group for group in found.groups if not set(group.layers) & set(keep)]
    if not groups:
        reasons = [f"{name}: {reason}" for name, reason in found.refusals.items()]
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "no attention heads of the model can be removed"
            + (f" ({'; '.join(reasons)})" if reasons else ": it has none"),
            hint="prune single weights, blocks of them or channels",
        )
    return _without_share(prepared, data, share, keep, groups)


def _without_share(
    prepared: Graph,
    data: CalibrationData,
    share: float,
    keep: tuple[str, ...],
    groups: Sequence[ChannelGroup],
    *,
    arena: bool = False,
) -> PruneResult:
    """Removes a share of all units, those of each group for each layer that makes them."""
    moments = reader_moments(prepared, groups, data)
    layers = {layer.name: layer for layer in prunable_layers(prepared)}
    orders = [
        _Order(
            group, removal_order(group, [layers[name] for name in group.readers], moments), arena
        )
        for group in groups
    ]
    sensitivities = _sensitivities(prepared, orders, moments, data, share)
    first = _for_arena(prepared, orders, sensitivities, share) if arena else None
    shares = allocate(sensitivities, share, first.levels if first is not None else None)
    graph = prepared
    for order in orders:
        graph = zeroed(graph, order.group, order.gone(shares[order.name]), moments)
    fitted = reconstruct_layers(prepared, graph, data, keep)
    removals = [(order.group, order.gone(shares[order.name])) for order in orders]
    graph = without_units(fitted.graph, removals)
    errors = {one.name: one.error or 0.0 for one in fitted.layers}
    figures = tuple(
        PrunedLayer(
            layer.name,
            layer.op.location.nodes,
            layer.weights.size,
            int(layer.weights.size - np.count_nonzero(layer.weights)),
            errors.get(layer.name, 0.0),
            (int(layers[layer.name].weights.shape[-1]), int(layer.weights.shape[-1])),
        )
        for layer in prunable_layers(graph)
    )
    note = "" if first is None else _arena_note(first, graph, share)
    return PruneResult(prepared, graph, figures, sensitivities, kept_channels(removals), note=note)


def _for_arena(
    graph: Graph, orders: Sequence[_Order], sensitivities: Sequence[Sensitivity], share: float
) -> ArenaLevels:
    def narrowed(shares: Mapping[str, float]) -> Graph:
        return without_units(
            graph, [(order.group, order.gone(shares.get(order.name, 0.0))) for order in orders]
        )

    return levels_for_arena(sensitivities, share, narrowed)


def _arena_note(first: ArenaLevels, graph: Graph, share: float) -> str:
    """What became of the arena, if it is not what was asked for."""
    after = min(first.bytes_after, arena_bytes(graph))
    if after <= (1 - share) * first.bytes_before:
        return ""
    fall = 1 - after / first.bytes_before
    return (
        f"the arena falls by {fall:.0%} and not by {share:.0%}: "
        "what is left of it is bound to channels that must stay"
    )


def _sensitivities(
    graph: Graph,
    orders: Sequence[_Order],
    moments: Mapping[str, LayerMoments],
    data: CalibrationData,
    share: float,
) -> tuple[Sensitivity, ...]:
    """What the outputs lose without each of some shares of each group, its readers solved for."""
    some = thinned(data, _NUM_COMPARED)
    reference = _outputs(graph, some)
    power = max(float(reference.var()), 1e-30)
    found = []
    for order in orders:
        levels = order.levels(share)
        errors = [0.0]
        for level in levels[1:]:
            smaller = zeroed(graph, order.group, order.gone(level), moments)
            given = _outputs(smaller, some)
            errors.append(max(errors[-1], float(np.mean((given - reference) ** 2)) / power))
        channels = len(order.group.units) * (1 if order.group.axes else len(order.group.layers))
        found.append(Sensitivity(order.name, channels, tuple(errors), levels))
    return tuple(found)


def _outputs(graph: Graph, data: CalibrationData) -> Array:
    """What the model gives before its softmaxes, all of it in one row for each sample."""
    values = [one.value for one in judged(graph)]
    run = inner_run(graph, values)
    rows = []
    for sample in data.samples():
        given = run(sample)
        rows.append(np.concatenate([given[v.name].reshape(-1).astype(np.float64) for v in values]))
    return np.stack(rows)
