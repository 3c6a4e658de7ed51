"""Operands: what `select` asks about the values that an op reads, and the constants among them.

Weights, scales and tables become part of layers. A constant that stands where a feature map may
stand is a map in flash, which is loaded as inputs are.
"""

import numpy as np

from lepton_cc.codegen.npu.layers import map_shape
from lepton_cc.codegen.npu.requirements import (
    MAX_REPEATED,
    Reason,
    repeats,
    require,
    require_map,
)
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array


class Operands:
    """The values of one graph; `constant_maps` are those that were asked for as maps."""

    def __init__(self, graph: Graph) -> None:
        self._producers = graph.producers()
        self._uses = graph.uses()
        self._outputs = set(graph.outputs)
        self.constant_maps: dict[Value, Array] = {}

    def producer(self, value: Value) -> Op | None:
        """The op that makes a value; None for inputs."""
        return self._producers.get(value)

    def is_constant(self, value: Value | None) -> bool:
        """Whether it is stored."""
        return self.constant(value) is not None

    def constant(self, value: Value | None) -> Array | None:
        """The array of a constant; None for everything else."""
        producer = None if value is None else self._producers.get(value)
        if producer is None or not isinstance(producer.kind, Constant):
            return None
        return producer.kind.value.array

    def moving(self, value: Value | None) -> Value:
        """A feature map: i8, and no constant."""
        assert value is not None
        require(value.type.dtype is DType.I8 and not self.is_constant(value), Reason.DTYPE)
        require_map(value.type)
        return value

    def sums(self, op: Op) -> Op:
        """The op that made the 32-bit sums which `op` requantizes, and nothing else reads."""
        x = op.operands[0]
        assert x is not None
        producer = self._producers.get(x)
        require(producer is not None and len(self._uses[x]) == 1, Reason.NOT_REQUANTIZED)
        require(x not in self._outputs, Reason.NOT_REQUANTIZED)
        assert producer is not None
        return producer

    def keep_constant(self, value: Value) -> None:
        """Makes a map of a value that is constant."""
        array = self.constant(value)
        if array is not None:
            self.constant_maps[value] = array

    def has_scalar(self, op: Op) -> bool:
        """Whether one operand is a constant of one element, so that the op is a table."""
        arrays = [self.constant(value) for value in op.inputs]
        return any(array is not None and array.size == 1 for array in arrays)

    def pair(self, op: Op, *, ordered: bool = False) -> tuple[Value, Value, bool]:
        """Both operands, the repeated one second; whether they were swapped for that.

        `ordered`: where that would swap them, a constant is repeated in flash, and others refused.
        """
        require(op.result.type.dtype is DType.I8, Reason.DTYPE)
        first, second = op.inputs
        result = map_shape(op.result.type)
        lhs = self._map(first, op, whole=ordered)
        rhs = self._map(second, op)
        if map_shape(lhs.type) == result and repeats(rhs.type, op.result.type):
            return lhs, rhs, False
        require(not ordered and map_shape(rhs.type) == result, Reason.BROADCAST)
        require(repeats(lhs.type, op.result.type), Reason.BROADCAST)
        return rhs, lhs, True

    def _map(self, value: Value, op: Op, *, whole: bool = False) -> Value:
        """A moving map, or a constant one; repeated in flash where strides cannot or must not."""
        array = self.constant(value)
        if array is None:
            return self.moving(value)
        require(value.type.dtype is DType.I8, Reason.DTYPE)
        is_whole = map_shape(value.type) == map_shape(op.result.type)
        if not (is_whole if whole else repeats(value.type, op.result.type)):
            require(op.result.type.num_elements <= MAX_REPEATED, Reason.BROADCAST)
            value = Value(f"{op.result.name}.{value.name}", op.result.type)
            array = np.broadcast_to(array, op.result.type.dims)
        self.constant_maps[value] = array
        return value
