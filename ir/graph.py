"""The graph: SSA values, ops in topological order, and what is computed from them.

Everything is immutable. A pass takes a graph and gives a graph; uses, producers and liveness are
computed when somebody needs them and never stored on the nodes.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value: a name that is unique in its graph, and a static type."""

    name: str
    type: TensorType

    def __hash__(self) -> int:
        # Of the name alone: values are keys everywhere, and hashing types is most of the work.
        return hash(self.name)


@dataclass(frozen=True, slots=True)
class Location:
    """The ONNX nodes that an op came from, in model order; errors and reports name them."""

    nodes: tuple[str, ...] = ()

    def merge(self, *others: "Location") -> "Location":
        """This location and the others, without duplicates, first seen first."""
        nodes = dict.fromkeys(self.nodes)
        for other in others:
            nodes.update(dict.fromkeys(other.nodes))
        return Location(tuple(nodes))

    def __str__(self) -> str:
        return "+".join(self.nodes)


@dataclass(frozen=True, slots=True)
class Op:
    """A node of the graph: what it computes, from which values to which, and its origin."""

    kind: OpKind
    operands: tuple[Value | None, ...]
    results: tuple[Value, ...]
    location: Location = field(default=Location(), compare=False)

    @property
    def result(self) -> Value:
        """The single result of an op that has one."""
        (result,) = self.results
        return result

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The operands that are there, in order."""
        return tuple(operand for operand in self.operands if operand is not None)


@dataclass(frozen=True, slots=True)
class Graph:
    """A function from inputs to outputs: ops in topological order.

    Input values carry the ONNX model's own input names. `output_names` are the ONNX names of
    `outputs`; one value may be output twice, and an input may be an output.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    output_names: tuple[str, ...]
    ops: tuple[Op, ...]

    def producers(self) -> Mapping[Value, Op]:
        """The op that produces each value (graph inputs have none)."""
        return {result: op for op in self.ops for result in op.results}

    def uses(self) -> Mapping[Value, tuple[Op, ...]]:
        """The ops that read each value, once for each operand position; outputs do not count."""
        uses: dict[Value, list[Op]] = defaultdict(list)
        for op in self.ops:
            for operand in op.inputs:
                uses[operand].append(op)
        return {value: tuple(ops) for value, ops in uses.items()}

    def with_ops(self, ops: tuple[Op, ...]) -> "Graph":
        """The same interface around other ops."""
        return Graph(self.name, self.inputs, self.outputs, self.output_names, ops)
