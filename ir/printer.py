"""Graph to text: one op a line, made to be read and diffed; `ir.parser` reads it back.

    graph net(%x: f32[1, 16, 16, 3]) {
      %w = constant f32[3, 3, 3, 8] #04d5c1f2a3b4c5d6
      %y = conv(%x, %w) {window = 3x3 stride 2 pad 1} : f32[1, 8, 8, 8]  loc("Conv 'conv1'")
      return %y as probabilities
    }

Attributes that have their default are left out; absent operands are `_`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.ir.attribute_text import TextWriter, name_text
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.ops import REGISTRY
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Tensor


@dataclass(frozen=True, slots=True)
class PrintedGraph:
    """The text, and the constants that it names by digest."""

    text: str
    constants: Mapping[str, Tensor]


def print_graph(graph: Graph) -> str:
    """The graph as text, with a final newline."""
    return printed(graph).text


def printed(graph: Graph) -> PrintedGraph:
    """The graph as text, with the constants that are too big for it."""
    constants: dict[str, Tensor] = {}
    return PrintedGraph(f"{_GraphPrinter(constants, '').graph(graph)}\n", constants)


class _GraphPrinter:
    def __init__(self, constants: dict[str, Tensor], indent: str) -> None:
        self._constants = constants
        self._indent = indent
        self._writer = TextWriter(constants, self._nested)

    def _nested(self, graph: Graph) -> str:
        return _GraphPrinter(self._constants, f"{self._indent}  ").graph(graph)

    def graph(self, graph: Graph) -> str:
        inner = f"\n{self._indent}  "
        inputs = ", ".join(f"{_value(v)}: {self._writer.type(v.type)}" for v in graph.inputs)
        lines = [f"graph {name_text(graph.name)}({inputs}) {{"]
        lines += [self.op(op) for op in graph.ops]
        outputs = (
            f"{_value(value)} as {name_text(name)}"
            for value, name in zip(graph.outputs, graph.output_names, strict=True)
        )
        lines.append(f"return {', '.join(outputs)}".rstrip())
        return f"{inner.join(lines)}\n{self._indent}}}"

    def op(self, op: Op) -> str:
        results = ", ".join(_value(result) for result in op.results)
        types = tuple(result.type for result in op.results)
        if isinstance(op.kind, Constant) and types == op.kind.infer(()):
            computation = f"constant {self._writer.type(types[0])} "
            computation += self._writer.content(op.kind.value)
        else:
            computation = f"{self._computation(op)} : {', '.join(map(self._writer.type, types))}"
        return f"{results} = {computation}{_location(op.location)}"

    def _computation(self, op: Op) -> str:
        kind = op.kind
        fixed = [name for name, _ in REGISTRY[kind.mnemonic].fixed]
        fields = self._writer.fields(kind, skip=fixed)
        operands = ", ".join("_" if v is None else _value(v) for v in op.operands)
        attributes = f" {{{', '.join(fields)}}}" if fields else ""
        return f"{kind.mnemonic}({operands}){attributes}"


def _value(value: Value) -> str:
    return f"%{name_text(value.name)}"


def _location(location: Location) -> str:
    if not location.nodes:
        return ""
    return f"  loc({', '.join(json.dumps(node) for node in location.nodes)})"
