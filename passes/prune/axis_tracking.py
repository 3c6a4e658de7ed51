"""Follows one axis of one value through a graph: what else must lose elements when it does.

Elements along an axis of a value are nodes; ops unite those that must go together, or pin them.
Each value is met along one axis. Reshapes that split or join axes are followed along the axis of
the other side that keeps apart what is apart.
"""

from collections import defaultdict
from collections.abc import Mapping

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Gather, Reshape
from lepton_cc.passes.prune.axis_links import RESULT, AxisLink, axis_links, port_value
from lepton_cc.passes.prune.contraction_weights import PrunableLayer, prunable_layers

_Node = tuple[Value, int]
_Pairs = tuple[tuple[int, int], ...]


class GraphAxes:
    """What tracking an axis looks up in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = {
            op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
        }
        self.layers: Mapping[Value, PrunableLayer] = {
            layer.op.result: layer for layer in prunable_layers(graph)
        }
        self.places: dict[Value, list[tuple[Op, int]]] = defaultdict(list)
        for op in graph.ops:
            for result in op.results:
                self.places[result].append((op, RESULT))
            for number, value in enumerate(op.operands):
                if value is not None:
                    self.places[value].append((op, number))


class TrackedAxis:
    """All that an axis of `seed` reaches.

    axes: by value, the axis along which it was met. made: values whose elements layers make.
    read: by value, the layers that sum over its elements, by name. selections: gathers whose
    results have the axis that they select along; sources: those that select of such a value.
    reasons: why the elements of a class, by its root, must stay.
    """

    def __init__(self, looked_up: GraphAxes, seed: Value, axis: int) -> None:
        self._graph = looked_up
        graph = looked_up.graph
        self._ports = {value: f"{value.name} is an input of the model" for value in graph.inputs}
        for value, name in zip(graph.outputs, graph.output_names, strict=True):
            self._ports.setdefault(value, f"{name} is an output of the model")
        self.axes: dict[Value, int] = {}
        self.made: set[Value] = set()
        self.read: dict[Value, list[str]] = defaultdict(list)
        self.selections: list[Op] = []
        self.sources: list[Op] = []
        self._parents: dict[_Node, _Node] = {}
        self._pinned: list[tuple[_Node, str]] = []
        self._waiting: list[Value] = []
        self._undecided: list[tuple[Op, int]] = []
        self._meet(seed, axis)
        self._run()
        self.reasons = {self.root(node): reason for node, reason in reversed(self._pinned)}

    def root(self, node: _Node) -> _Node:
        """The representative of what must go together with an element."""
        while (parent := self._parents.setdefault(node, node)) != node:
            self._parents[node] = node = self._parents[parent]
        return node

    def classes(self) -> dict[_Node, dict[Value, tuple[int, ...]]]:
        """By root, the elements of each value that go together."""
        found: dict[_Node, dict[Value, list[int]]] = defaultdict(lambda: defaultdict(list))
        for value, axis in self.axes.items():
            for index in range(value.type.dims[axis]):
                found[self.root((value, index))][value].append(index)
        return {
            root: {value: tuple(indices) for value, indices in members.items()}
            for root, members in found.items()
        }

    def _run(self) -> None:
        while self._waiting or self._undecided:
            while self._waiting:
                value = self._waiting.pop()
                for op, port in self._graph.places[value]:
                    self._through(op, port, value)
            undecided, self._undecided = self._undecided, []
            if undecided and not self._decide_one(undecided):
                for op, port in undecided:
                    met = port_value(op, port)
                    assert met is not None
                    self._pin(met, f"{op.result.name} has no axis of its own for them")
                return

    def _decide_one(self, undecided: list[tuple[Op, int]]) -> bool:
        """Takes the first reshape that can be followed, of all the surest; the others wait."""
        for exactly in (True, False):
            for number, (op, port) in enumerate(undecided):
                if self._reshape(op, port, exactly=exactly):
                    self._undecided = undecided[:number] + undecided[number + 1 :]
                    return True
        return False

    def _through(self, op: Op, port: int, value: Value) -> None:
        axis = self.axes[value]
        if len(op.results) != 1:
            self._pin(value, f"{op.kind.mnemonic} makes several values of it")
        elif isinstance(op.kind, Reshape):
            if not self._reshape(op, port, exactly=True):
                self._undecided.append((op, port))
        elif not self._is_layer_end(op, port, value, axis):
            self._follow(op, port, value, axis)

    def _is_layer_end(self, op: Op, port: int, value: Value, axis: int) -> bool:
        """Whether a layer makes or sums over the axis: nothing lies behind it."""
        layer = self._graph.layers.get(op.result)
        if layer is None or layer.groups > 1 or axis != value.type.rank - 1 or port > 0:
            return False
        if port == RESULT:
            self.made.add(value)
        else:
            self.read[value].append(layer.name)
        return True

    def _follow(self, op: Op, port: int, value: Value, axis: int) -> None:
        links = axis_links(op, port, axis)
        if links is None or self._is_summed(op, port, value, axis):
            self._pin(value, f"{op.kind.mnemonic} {op.result.name} mixes them")
            return
        if isinstance(op.kind, Gather) and not links:
            indices = op.inputs[1]
            if indices not in self._graph.constants or op.inputs[0] in self._graph.constants:
                self._pin(value, f"{op.result.name} gathers what only a run knows")
            (self.selections if port == RESULT else self.sources).append(op)
        for link in links:
            other = port_value(op, link.port)
            assert other is not None
            if other not in self._graph.constants:
                self._join(value, other, link)
            elif len(link.pairs) != value.type.dims[axis]:
                self._pin(value, f"{op.result.name} joins them with a constant")

    def _is_summed(self, op: Op, port: int, value: Value, axis: int) -> bool:
        """Whether a product that is no layer sums over the axis, or is its only maker."""
        if not isinstance(op.kind, Conv | MatMul):
            return False
        from_end = value.type.rank - axis
        shared = op.inputs[1] in self._graph.constants and op.result not in self._graph.layers
        depthwise = isinstance(op.kind, Conv) and op.kind.groups > 1
        is_sum = (port, from_end) in ((0, 1), (1, 2)) and not depthwise
        return is_sum or (shared and from_end == 1)

    def _reshape(self, op: Op, port: int, *, exactly: bool) -> bool:
        """Follows a reshape, if it is clear along which axis; without `exactly`, if any will do."""
        value, other = port_value(op, port), port_value(op, -1 - port)
        assert value is not None
        assert other is not None
        links = axis_links(op, port, self.axes[value]) or ()
        if other in self._graph.constants:
            self._pin(value, f"{op.result.name} is constant")
            return True
        if other in self.axes:
            links = tuple(link for link in links if link.axis == self.axes[other])
            if links:
                self._join(value, other, links[0])
            else:
                self._pin(value, f"{op.result.name} has them along several axes")
            return True
        most = len({self.root((value, index)) for index in range(_size(value, self.axes[value]))})
        counts = [self._classes_left(value, link.pairs) for link in links]
        best = max(counts, default=0)
        if best <= 1 or (exactly and best < most):
            return False
        self._join(value, other, links[counts.index(best)])
        return True

    def _classes_left(self, value: Value, pairs: _Pairs) -> int:
        """How many classes of a value's elements a link would leave."""
        parents: dict[object, object] = {}

        def root(node: object) -> object:
            while parents.setdefault(node, node) != node:
                node = parents[node]
            return node

        own = set()
        for one, other in pairs:
            own.add(self.root((value, one)))
            parents[root(self.root((value, one)))] = root(other)
        return len({root(node) for node in own})

    def _join(self, value: Value, other: Value, link: AxisLink) -> None:
        if self.axes.get(other, link.axis) != link.axis:
            for met in (value, other):
                self._pin(met, f"{other.name} is met along two axes")
            return
        for one, theirs in link.pairs:
            first, second = self.root((value, one)), self.root((other, theirs))
            self._parents[second] = first
        self._meet(other, link.axis)

    def _meet(self, value: Value, axis: int) -> None:
        if value in self.axes:
            return
        self.axes[value] = axis
        self._waiting.append(value)
        if value in self._ports:
            self._pin(value, self._ports[value])

    def _pin(self, value: Value, reason: str) -> None:
        size = _size(value, self.axes[value])
        self._pinned += [((value, index), reason) for index in range(size)]


def _size(value: Value, axis: int) -> int:
    return value.type.dims[axis]
