"""Runs a quantized graph that is decided layer by layer, compiling each part of it once.

Rounding goes from the inputs to the outputs: what is decided does not change any more. Each stage
compiles what lies between the integers that the parts before it give and the values it wants.
"""

from collections.abc import Collection, Mapping, Sequence

from lepton_cc.calibration.float_run import InnerRun, inner_run
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.tensor import Array


class StagedRun:
    """Parts of a graph behind each other; a part begins where another has given integers.

    is_float: activations stay floats, and parts begin at any of them.
    """

    def __init__(self, *, is_float: bool = False) -> None:
        self._is_float = is_float
        self._parts: list[InnerRun] = []
        self._stored: frozenset[Value] = frozenset()

    def extend(
        self, graph: Graph, wanted: Sequence[Value], undecided: Collection[Value]
    ) -> InnerRun:
        """A function from inputs by ONNX name to `wanted` by their names.

        graph: the whole of it, the same as before but for what reads `undecided`, the results of
        layers that may still change: nothing of theirs is kept for the next part.
        """
        ops = _needed(graph, wanted, self._stored)
        lasting = self._lasting(graph, ops, undecided)
        given = tuple(dict.fromkeys([*wanted, *lasting]))
        known = (*graph.inputs, *sorted(self._stored, key=lambda value: value.name))
        inputs = _read(ops, given, known)
        part = inner_run(Graph(graph.name, inputs, (), (), ops), given)
        before = tuple(self._parts)
        self._parts.append(part)
        self._stored |= frozenset(lasting)

        def run(sample: Mapping[str, Array]) -> Mapping[str, Array]:
            values = dict(sample)
            for one in before:
                values.update(one(values))
            return part(values)

        return run

    def _lasting(
        self, graph: Graph, ops: Sequence[Op], undecided: Collection[Value]
    ) -> list[Value]:
        """What the ops give that later parts can begin with."""
        changing = _reached(graph, undecided)
        cuts = {
            value for op in ops if self._is_cut(op) for value in op.results if value not in changing
        }
        producers = {value: op for op in ops for value in op.results}
        others = [op for op in graph.ops if op.results[0] not in producers]
        waiting = [*graph.outputs, *(value for op in others for value in op.inputs)]
        found: set[Value] = set()
        seen = set(waiting)
        while waiting:
            value = waiting.pop()
            if value in cuts:
                found.add(value)
                continue
            more = producers[value].inputs if value in producers else ()
            waiting += [one for one in more if one not in seen]
            seen.update(more)
        return sorted(found, key=lambda value: value.name)

    def _is_cut(self, op: Op) -> bool:
        if self._is_float:
            return not isinstance(op.kind, Constant | Dequantize)
        return isinstance(op.kind, Quantize)


def _needed(graph: Graph, wanted: Sequence[Value], stored: Collection[Value]) -> tuple[Op, ...]:
    """The ops that `wanted` follow from, given what is stored, in the graph's order."""
    needed = set(wanted) - set(stored)
    ops: list[Op] = []
    for op in reversed(graph.ops):
        if not needed.isdisjoint(op.results):
            ops.append(op)
            needed.update(value for value in op.inputs if value not in stored)
    return tuple(reversed(ops))


def _read(ops: Sequence[Op], given: Sequence[Value], inputs: Sequence[Value]) -> tuple[Value, ...]:
    """Those of `inputs` that the ops read, or that are given as they are."""
    read = {value for op in ops for value in op.inputs} | set(given)
    return tuple(value for value in inputs if value in read)


def _reached(graph: Graph, sources: Collection[Value]) -> set[Value]:
    """The sources and all that follows from them."""
    reached = set(sources)
    for op in graph.ops:
        if not reached.isdisjoint(op.inputs):
            reached.update(op.results)
    return reached
