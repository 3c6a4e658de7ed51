"""Removing channels: orders units of a group, solves for what reads them, shrinks every tensor."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.rewrite import without_dead_ops
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.prune.channel_groups import ChannelGroup
from lepton_cc.passes.prune.contraction_weights import PrunableLayer
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.second_order import refitted


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


def without_channels(graph: Graph, group: ChannelGroup, gone: Sequence[int]) -> Graph:
    """The graph in which some units of a group are gone from every tensor."""
    return _Shrinking(graph, _staying(group, gone)).run()


def kept_channels(group: ChannelGroup, gone: Sequence[int]) -> dict[str, Array]:
    """The channels that stay when some units go, by names of the values that lose some."""
    return {value.name: np.flatnonzero(mask) for value, mask in _staying(group, gone).items()}


def _staying(group: ChannelGroup, gone: Sequence[int]) -> dict[Value, Array]:
    stays: dict[Value, Array] = {}
    for unit, members in enumerate(group.units):
        for value, channels in members.items():
            mask = stays.setdefault(value, np.ones(value.type.dims[-1], bool))
            mask[list(channels)] = unit not in gone
    return stays


class _Shrinking:
    """Copies a graph with fewer channels in some values."""

    def __init__(self, graph: Graph, stays: Mapping[Value, Array]) -> None:
        self._graph, self._stays = graph, stays
        self._producers = graph.producers()
        names = [value.name for op in graph.ops for value in op.results]
        self._builder = GraphBuilder(graph.name, [*names, *(v.name for v in graph.inputs)])
        self._new: dict[Value, Value] = {}

    def run(self) -> Graph:
        """The smaller graph; constants that nothing reads any more are dropped."""
        for value in self._graph.inputs:
            self._new[value] = self._builder.input(value.name, value.type)
        for op in self._graph.ops:
            if op.results[0] not in self._stays and not any(v in self._stays for v in op.inputs):
                operands = tuple(None if v is None else self._new[v] for v in op.operands)
                self._builder.append(replace(op, operands=operands))
                self._new.update({value: value for value in op.results})
                continue
            operands = tuple(
                self._operand(op.kind, n, v, op.inputs[0], op.result)
                for n, v in enumerate(op.operands)
            )
            kind = self._kind(op.kind, op.result)
            types = kind.infer([None if v is None else v.type for v in operands])
            result = Value(op.result.name, types[0])
            self._builder.append(replace(op, kind=kind, operands=operands, results=(result,)))
            self._new[op.result] = result
        outputs = [self._new[value] for value in self._graph.outputs]
        return without_dead_ops(self._builder.finish(outputs, self._graph.output_names))

    def _kind(self, kind: OpKind, result: Value) -> OpKind:
        mask = self._stays.get(result)
        if mask is None:
            return kind
        width = int(np.count_nonzero(mask))
        if isinstance(kind, Conv) and kind.groups > 1:
            return replace(kind, groups=width)
        if isinstance(kind, Reshape):
            return replace(kind, shape=(*kind.shape[:-1], width))
        return kind

    def _operand(
        self, kind: OpKind, number: int, value: Value | None, x: Value, result: Value
    ) -> Value | None:
        """An operand; constants lose the rows and columns of what is gone."""
        if value is None:
            return None
        producer = self._producers.get(value)
        if producer is None or not isinstance(producer.kind, Constant):
            return self._new[value]
        array = producer.kind.value.array
        columns, rows = self._stays.get(result), self._stays.get(x)
        smaller = array
        if columns is not None and array.ndim and array.shape[-1] == len(columns):
            smaller = smaller[..., columns]
        is_full = isinstance(kind, MatMul) or (isinstance(kind, Conv) and kind.groups == 1)
        if number == 1 and rows is not None and is_full:
            smaller = smaller[..., rows, :]
        if smaller is array:
            return self._new[value]
        return self._builder.emit(
            Constant(Tensor(smaller)), location=producer.location, name=value.name
        )
