"""Copies a graph with fewer elements along an axis of some values, or in another order.

Constants, shapes and attributes follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.movement import Broadcast, Gather, Reshape, Slice
from lepton_cc.ir.rewrite import without_dead_ops
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.prune.axis_links import RESULT, axis_links, port_value


@dataclass(frozen=True, slots=True)
class Staying:
    """Which elements along an axis of a value stay, i64[elements], in their new order."""

    axis: int
    elements: Array


def shrunk(graph: Graph, stays: Mapping[Value, Staying]) -> Graph:
    """The graph without what does not stay; constants that nothing reads any more are dropped."""
    return _Shrinking(graph, stays).run()


class _Shrinking:
    def __init__(self, graph: Graph, stays: Mapping[Value, Staying]) -> None:
        self._graph, self._stays = graph, stays
        self._constants = {
            op.result: op for op in graph.ops if isinstance(op.kind, Constant) and not op.operands
        }
        names = [value.name for op in graph.ops for value in op.results]
        self._builder = GraphBuilder(graph.name, [*names, *(v.name for v in graph.inputs)])
        self._new: dict[Value, Value] = {}

    def run(self) -> Graph:
        for value in self._graph.inputs:
            self._new[value] = self._builder.input(value.name, value.type)
        for op in self._graph.ops:
            if not any(value in self._stays for value in (*op.results, *op.inputs)):
                operands = tuple(None if v is None else self._new[v] for v in op.operands)
                self._builder.append(replace(op, operands=operands))
                self._new.update({value: value for value in op.results})
                continue
            operands = tuple(self._operand(op, number) for number in range(len(op.operands)))
            kind = self._kind(op)
            types = kind.infer([None if v is None else v.type for v in operands])
            result = Value(op.result.name, types[0])
            self._builder.append(replace(op, kind=kind, operands=operands, results=(result,)))
            self._new[op.result] = result
        outputs = [self._new[value] for value in self._graph.outputs]
        return without_dead_ops(self._builder.finish(outputs, self._graph.output_names))

    def _kind(self, op: Op) -> OpKind:
        """The op with its attributes for fewer elements."""
        kind, own = op.kind, self._stays.get(op.result)
        if isinstance(kind, Slice) and op.inputs[0] in self._stays:
            return _narrower_slice(kind, self._stays[op.inputs[0]])
        if own is None:
            return kind
        width = len(own.elements)
        if isinstance(kind, Conv) and kind.groups > 1:
            return replace(kind, groups=width)
        if isinstance(kind, Reshape | Broadcast):
            return replace(kind, shape=_with_size(kind.shape, own.axis, width))
        return kind

    def _operand(self, op: Op, number: int) -> Value | None:
        """An operand; constants lose what goes with elements of the result or of the others."""
        value = op.operands[number]
        producer = self._constants.get(value) if value is not None else None
        if value is None or producer is None:
            return None if value is None else self._new[value]
        if isinstance(op.kind, Gather) and number == 1:
            array = self._new_indices(op, op.kind)
        else:
            array = self._smaller(op, number, value)
        if array is None:
            return self._new[value]
        tensor = Tensor(np.ascontiguousarray(array))
        return self._builder.emit(Constant(tensor), location=producer.location, name=value.name)

    def _smaller(self, op: Op, number: int, value: Value) -> Array | None:
        array = self._array(value)
        # Two ports may say the same of an axis.
        done: set[int] = set()
        for port in (RESULT, *range(len(op.operands))):
            other = port_value(op, port)
            if other is None or other not in self._stays:
                continue
            own = self._stays[other]
            size = other.type.dims[own.axis]
            for link in axis_links(op, port, own.axis) or ():
                if link.port == number and link.axis not in done and array.shape[link.axis] == size:
                    array = np.take(array, own.elements, axis=link.axis)
                    done.add(link.axis)
        return array if done else None

    def _new_indices(self, op: Op, kind: Gather) -> Array | None:
        """Where what is gathered lies among what is left, for each element that is."""
        indices = self._array(op.inputs[1])
        results, source = self._stays.get(op.result), self._stays.get(op.inputs[0])
        places = np.where(indices < 0, indices + op.inputs[0].type.dims[kind.axis], indices)
        if results is not None and results.axis == kind.axis and indices.ndim == 1:
            places = places[results.elements]
        if source is not None and source.axis == kind.axis:
            new = np.zeros(op.inputs[0].type.dims[kind.axis], np.int64)
            new[source.elements] = np.arange(len(source.elements))
            places = new[places]
        return None if np.array_equal(places, indices) else places.astype(indices.dtype)

    def _array(self, value: Value) -> Array:
        kind = self._constants[value].kind
        assert isinstance(kind, Constant)
        return kind.value.array


def _narrower_slice(kind: Slice, source: Staying) -> Slice:
    """The slice of what is left, in the order in which it was."""
    first, size = kind.starts[source.axis], kind.sizes[source.axis]
    before = int(np.count_nonzero(source.elements < first))
    inside = int(np.count_nonzero(source.elements < first + size)) - before
    return replace(
        kind,
        starts=_with_size(kind.starts, source.axis, before),
        sizes=_with_size(kind.sizes, source.axis, inside),
    )


def _with_size(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])
