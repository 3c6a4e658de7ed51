"""Channels that leave for a smaller arena: those that live at its peak, the cheapest first."""

from collections.abc import Mapping

import pytest

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.prune.allocate import Sensitivity, allocate
from lepton_cc.passes.prune.channel_groups import channel_groups
from lepton_cc.passes.prune.remove_channels import without_units
from lepton_cc.pruning.arena_levels import ArenaLevels, arena_bytes, levels_for_arena
from tests.lepton_cc.reconstruction.small_networks import WIDE, NetworkBuilder

_LEVELS = (0.0, 0.25, 0.5, 0.75)


def _chain() -> Graph:
    """Four convolutions; what the second reads and gives is the most that lives at a time."""
    net = NetworkBuilder("chain", 0)
    x = net.build.input("x", TensorType(DType.F32, (1, 8, 8, 2)))
    first = net.conv(x, 8, WIDE, "first")
    second = net.conv(net.relu(first, "one"), 8, WIDE, "second")
    third = net.conv(net.relu(second, "two"), 4, WIDE, "third")
    last = net.conv(net.relu(third, "three"), 2, WIDE, "last")
    return net.build.finish([last], ["y"])


def _levels(dear: str, share: float, levels: tuple[float, ...] = _LEVELS) -> ArenaLevels:
    graph = _chain()
    groups = channel_groups(graph)

    def narrowed(shares: Mapping[str, float]) -> Graph:
        removals = [
            (group, range(round(shares.get(group.layers[0], 0.0) * len(group.units))))
            for group in groups
        ]
        return without_units(graph, removals)

    sensitivities = [
        Sensitivity(
            group.layers[0],
            len(group.units),
            tuple(level**2 * (10 if group.layers[0] == dear else 1) for level in levels),
            levels,
        )
        for group in groups
    ]
    return levels_for_arena(sensitivities, share, narrowed)


@pytest.mark.parametrize(("dear", "cheap"), [("first", "second"), ("second", "first")])
def test_the_cheaper_of_the_channels_at_the_peak_leave(dear: str, cheap: str) -> None:
    found = _levels(dear, 0.25)
    assert found.bytes_before == arena_bytes(_chain())
    assert found.bytes_after <= 0.75 * found.bytes_before
    assert found.levels[cheap] > found.levels[dear]
    assert found.levels["third"] == 0


def test_what_cannot_shrink_further_says_how_far_it_did() -> None:
    found = _levels("first", 0.95, (0.0, 0.75))
    assert 0.05 * found.bytes_before < found.bytes_after < 0.5 * found.bytes_before


def test_a_budget_starts_from_the_levels_that_are_needed() -> None:
    errors = tuple(level**2 for level in _LEVELS)
    both = [Sensitivity(name, 8, errors, _LEVELS) for name in ("needed", "free")]
    assert allocate(both, 0.25, {"needed": 2}) == {"needed": 0.5, "free": 0.0}
    assert allocate(both, 0.375, {"needed": 2}) == {"needed": 0.5, "free": 0.25}
