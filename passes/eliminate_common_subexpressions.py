"""Common subexpression elimination: what is computed twice is computed once."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.structural_hash import kind_key, type_key
from lepton_cc.passes.manager import Pass

Key = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class EliminateCommonSubexpressions(Pass):
    """Replaces an op by an earlier one of the same kind, attributes and operands.

    Operands of commutative ops may come in either order. Attributes are compared bit for bit. The
    op that stays is located at the ONNX nodes of all that it stands for.
    """

    NAME: ClassVar[str] = "eliminate-common-subexpressions"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        values: dict[Value, Value] = {value: value for value in graph.inputs}
        first: dict[Key, Op] = {}
        locations: dict[Key, Location] = {}
        for op in graph.ops:
            operands = tuple(None if v is None else values[v] for v in op.operands)
            current = op if operands == op.operands else replace(op, operands=operands)
            key = _key(current)
            kept = first.setdefault(key, current)
            locations[key] = locations.get(key, Location()).merge(op.location)
            values.update(zip(op.results, kept.results, strict=True))
        if len(first) == len(graph.ops):
            return graph
        statistics.count("same op of same operands", len(graph.ops) - len(first))
        ops = tuple(
            op if op.location == locations[key] else replace(op, location=locations[key])
            for key, op in first.items()
        )
        outputs = tuple(values[value] for value in graph.outputs)
        return Graph(graph.name, graph.inputs, outputs, graph.output_names, ops)


def _key(op: Op) -> Key:
    names = tuple("" if v is None else v.name for v in op.operands)
    if Trait.COMMUTATIVE in op.kind.traits and not _orders_zeros(op):
        names = tuple(sorted(names))
    return kind_key(op.kind), names, tuple(type_key(result.type) for result in op.results)


def _orders_zeros(op: Op) -> bool:
    """Min and max of 0.0 and -0.0 give the one or the other by the order of operands."""
    kind = op.kind
    return isinstance(kind, Binary) and kind.function in (BinaryFunction.MIN, BinaryFunction.MAX)
