"""Which channels must go together: those that sums, depthwise windows and concatenations couple.

Every channel (element of the last dimension) of every value is a node; ops unite nodes or pin them.
What is connected and not pinned can be removed as one. Axis tracking, by which heads are found, is
not used: it follows channels through slices and gathers and into heads, so its groups are others.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.movement import Concat, Pad, Reshape
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import Reduce
from lepton_cc.passes.prune.contraction_weights import prunable_layers

_Node = tuple[Value, int]


@dataclass(frozen=True, slots=True)
class Follower:
    """Elements, by value, that go when all of some units of a group are gone."""

    members: Mapping[Value, tuple[int, ...]]
    needs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that live in the same values; each of `units` goes as one.

    A unit holds, by value, the channels that it consists of: elements of the last axis, or of that
    which `axes` names. `layers` are the contractions that make these values, `readers` those that
    sum over their channels, by names of results.
    """

    units: tuple[Mapping[Value, tuple[int, ...]], ...]
    layers: tuple[str, ...]
    readers: tuple[str, ...]
    axes: Mapping[Value, int] = field(default_factory=dict)
    followers: tuple[Follower, ...] = ()

    def axis(self, value: Value) -> int:
        """The axis of a value along which units lie."""
        return self.axes.get(value, value.type.rank - 1)


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """The groups of a prepared float graph, in the order of their first layer."""
    coupling = _Coupling(graph)
    by_root: dict[_Node, dict[Value, list[int]]] = defaultdict(lambda: defaultdict(list))
    for node in coupling.nodes:
        by_root[coupling.root(node)][node[0]].append(node[1])
    alike: dict[tuple[Value, ...], list[Mapping[Value, tuple[int, ...]]]] = defaultdict(list)
    pinned = {coupling.root(node) for node in coupling.pinned}
    for root, members in by_root.items():
        if root not in pinned:
            unit = {value: tuple(channels) for value, channels in members.items()}
            alike[tuple(unit)].append(unit)
    found = []
    for values, units in alike.items():
        layers = [v.name for v in values if v in coupling.made]
        readers = [name for v in values for name in coupling.read.get(v, ())]
        if layers and readers and len(units) > 1:
            found.append(ChannelGroup(tuple(units), tuple(layers), tuple(dict.fromkeys(readers))))
    return tuple(found)


class _Coupling:
    """Union and find over the channels of all values."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: dict[_Node, _Node] = {}
        self.pinned: list[_Node] = []
        self.made: set[Value] = set()
        self.read: dict[Value, list[str]] = defaultdict(list)
        self._constants = {op.result for op in graph.ops if isinstance(op.kind, Constant)}
        self._layers = {layer.op.result: layer for layer in prunable_layers(graph)}
        for value in (*graph.inputs, *graph.outputs):
            self._pin(value)
        for op in graph.ops:
            if len(op.results) > 1:
                for value in (*op.inputs, *op.results):
                    self._pin(value)
            elif op.result not in self._constants:
                self._visit(op)

    def root(self, node: _Node) -> _Node:
        """The representative of what a node is connected with."""
        while self.nodes.setdefault(node, node) != node:
            node = self.nodes[node]
        return node

    def _visit(self, op: Op) -> None:
        given = [value for value in op.inputs if value not in self._constants]
        layer = self._layers.get(op.result)
        if layer is not None and len(given) == 1 and layer.groups == 1:
            self.made.add(op.result)
            self.read[given[0]].append(op.result.name)
            self._touch(op.result)
        elif layer is not None and len(given) == 1 and _is_depthwise(op):
            self._unite(given[0], op.result)
        elif isinstance(op.kind, Concat) and op.kind.axis == op.result.type.rank - 1:
            first = 0
            for value in op.inputs:
                self._unite(value, op.result, first)
                first += value.type.dims[-1]
            if len(given) != len(op.inputs):
                self._pin(op.result)
        elif _keeps_channels(op, given):
            for value in given:
                self._unite(value, op.result)
        else:
            for value in (*given, *op.results):
                self._pin(value)

    def _unite(self, value: Value, result: Value, first: int | None = None) -> None:
        """Couples channels one by one; those of a part of a concatenation from `first` on.

        A result with more channels is a flattened map: each channel recurs at every position.
        """
        self._touch(value)
        self._touch(result)
        width, offset = value.type.dims[-1], first or 0
        count = result.type.dims[-1] if first is None else width
        for place in range(offset, offset + count):
            one, other = self.root((value, (place - offset) % width)), self.root((result, place))
            self.nodes[max(one, other, key=_order)] = min(one, other, key=_order)

    def _touch(self, value: Value) -> None:
        for channel in range(value.type.dims[-1] if value.type.rank else 0):
            self.nodes.setdefault((value, channel), (value, channel))

    def _pin(self, value: Value) -> None:
        self._touch(value)
        self.pinned += [(value, c) for c in range(value.type.dims[-1] if value.type.rank else 0)]


def _order(node: _Node) -> tuple[str, int]:
    return node[0].name, node[1]


def _is_depthwise(op: Op) -> bool:
    width = op.result.type.dims[-1]
    return isinstance(op.kind, Conv) and op.kind.groups == width == op.inputs[0].type.dims[-1]


def _keeps_channels(op: Op, given: list[Value]) -> bool:
    """Whether channel c of the result comes from channel c of every operand, and nothing else."""
    width = op.result.type.dims[-1] if op.result.type.rank else 0
    if isinstance(op.kind, Reshape):
        dims, last = given[0].type.dims, 1
        for dim in reversed(dims):
            last *= dim
            if last >= width:
                break
        return bool(dims) and last == width and width % dims[-1] == 0
    alike = all(value.type.rank and value.type.dims[-1] == width for value in given)
    known = isinstance(op.kind, AveragePool | MaxPool) or Trait.POINTWISE in op.kind.traits
    if isinstance(op.kind, Reduce):
        known = given[0].type.rank - 1 not in op.kind.axes
    if isinstance(op.kind, Pad):
        known = op.kind.low[-1] == op.kind.high[-1] == 0
    return bool(width and given) and alike and known and len(op.results) == 1
