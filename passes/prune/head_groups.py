"""Attention heads as groups of channels: what must leave together when a head does.

A head is an element of a batch axis of a product of two activations. Followed to the layers that
make queries, keys and values and to the one that reads the heads' results, it is a block of their
channels, however they are joined, split, turned or transposed in between.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.axis_tracking import GraphAxes, TrackedAxis
from lepton_cc.passes.prune.channel_groups import ChannelGroup, Follower

_Members = Mapping[Value, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class HeadGroups:
    """The groups of heads that may leave, and for other attentions why theirs may not.

    `refusals` are by the name of a product of two activations.
    """

    groups: tuple[ChannelGroup, ...]
    refusals: Mapping[str, str]


def head_groups(graph: Graph) -> HeadGroups:
    """The heads of a prepared float graph, a group for each attention, in the graph's order.

    Queries may be more than keys and values: if these are repeated by a gather, each query head can
    leave alone, and a head of keys and values follows the last that reads it, unless it is an input
    or output of the model; if they are broadcast, all that share one go as one.
    """
    looked_up = GraphAxes(graph)
    groups: list[ChannelGroup] = []
    refusals: dict[str, str] = {}
    seen: set[tuple[Value, int]] = set()
    for op in graph.ops:
        if not isinstance(op.kind, MatMul) or set(op.inputs) & set(looked_up.constants):
            continue
        dims = op.result.type.dims
        for axis in range(len(dims) - 2):
            if dims[axis] == 1 or (op.result, axis) in seen:
                continue
            tracked = TrackedAxis(looked_up, op.result, axis)
            seen.update(tracked.axes.items())
            found = _group(tracked, op.result)
            if isinstance(found, str):
                refusals[op.result.name] = found
            else:
                groups.append(_with_followers(looked_up, tracked, found))
    return HeadGroups(tuple(groups), refusals)


def _group(tracked: TrackedAxis, seed: Value) -> ChannelGroup | str:
    """The group that holds the most elements of a value, or why there is none."""
    alike: dict[tuple[tuple[Value, int], ...], list[_Members]] = defaultdict(list)
    reasons: dict[str, None] = {}
    for root, members in tracked.classes().items():
        if seed not in members:
            continue
        if root in tracked.reasons:
            reasons[tracked.reasons[root]] = None
            continue
        form = tuple((value, len(indices)) for value, indices in members.items())
        alike[form].append(members)
    units = max(alike.values(), key=len, default=[])
    values = units[0] if units else {}
    layers = tuple(value.name for value in values if value in tracked.made)
    readers = dict.fromkeys(name for value in values for name in tracked.read.get(value, ()))
    if len(units) > 1 and layers and readers:
        ordered = sorted(units, key=lambda unit: unit[seed])
        axes = {value: tracked.axes[value] for value in values}
        return ChannelGroup(tuple(ordered), layers, tuple(readers), axes)
    if reasons:
        return "; ".join(reasons)
    return "no layer makes its heads and none reads them" if len(units) != 1 else "it has one head"


def _with_followers(
    looked_up: GraphAxes, tracked: TrackedAxis, group: ChannelGroup
) -> ChannelGroup:
    """The group with the heads of keys and values that its gathers repeat."""
    axes, followers = dict(group.axes), list(group.followers)
    for source in dict.fromkeys(op.inputs[0] for op in tracked.selections):
        readers = [op for op in tracked.selections if op.inputs[0] == source]
        axis = tracked.axes[readers[0].result]
        behind = TrackedAxis(looked_up, source, axis)
        clashes = any(axes.get(value, place) != place for value, place in behind.axes.items())
        if clashes or not set(behind.sources) <= set(tracked.selections):
            continue
        needs = _needs(readers, group, looked_up.constants)
        for root, members in behind.classes().items():
            wanted = [needs.get(index) for index in members.get(source, ())]
            whole = [need for need in wanted if need]
            may_go = root not in behind.reasons and not _is_read(behind, members)
            if whole and len(whole) == len(wanted) and may_go:
                axes.update((value, behind.axes[value]) for value in members)
                units = sorted({unit for need in whole for unit in need})
                followers.append(Follower(members, tuple(units)))
    return replace(group, axes=axes, followers=tuple(followers))


def _needs(
    readers: list[Op], group: ChannelGroup, constants: Mapping[Value, Array]
) -> dict[int, set[int]]:
    """By element that gathers repeat, the units that read it; none if another reads it too."""
    found: dict[int, set[int]] = defaultdict(set)
    for op in readers:
        units = {
            place: number
            for number, unit in enumerate(group.units)
            for place in unit.get(op.result, ())
        }
        size = op.inputs[0].type.dims[group.axis(op.result)]
        for place, index in enumerate(constants[op.inputs[1]].reshape(-1).tolist()):
            found[index % size].add(units.get(place, -1))
    return {index: units for index, units in found.items() if -1 not in units}


def _is_read(behind: TrackedAxis, members: _Members) -> bool:
    return any(behind.read.get(value) for value in members)
