"""Graphs in which some layers are quantized and all others are float."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.attribution.layers import QuantizedLayer, known_arrays, quantized_layers
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, refuse
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.rewrite import without_dead_ops
from lepton_cc.ir.tensor import Array

_Operand = tuple[Value, int]
# Above this part of their power, integer weights are not those of the float model, rounded.
_OTHER_WEIGHTS = 0.25


@dataclass(frozen=True, slots=True)
class Swapper:
    """A quantized graph, its layers, and the float constants of each; operands by (result, n)."""

    graph: Graph
    layers: tuple[QuantizedLayer, ...]
    floats: Mapping[_Operand, Array]
    integers: Mapping[_Operand, Array]

    def variant(self, quantized: Collection[int]) -> Graph:
        """The graph with the layers of these numbers quantized, and the others float."""
        swapped = [layer for n, layer in enumerate(self.layers) if n not in quantized]
        bypassed = {
            dequantize.result: pair.quantize.inputs[0]
            for layer in swapped
            for pair in layer.pairs
            for dequantize in pair.dequantizes
        }
        anchors = {layer.anchor.results[0] for layer in swapped if layer.anchor is not None}
        names = [result.name for op in self.graph.ops for result in op.results]
        builder = GraphBuilder(self.graph.name, [*names, *(v.name for v in self.graph.inputs)])

        def now(value: Value) -> Value:
            while value in bypassed:
                value = bypassed[value]
            return value

        for value in self.graph.inputs:
            builder.input(value.name, value.type)
        for op in self.graph.ops:
            operands = [None if v is None else now(v) for v in op.operands]
            if op.results[0] in anchors:
                for number in range(len(operands)):
                    array = self.floats.get((op.results[0], number))
                    if array is not None:
                        operands[number] = builder.constant(array, op.location, "float")
            builder.append(Op(op.kind, tuple(operands), op.results, op.location))
        outputs = [now(value) for value in self.graph.outputs]
        return without_dead_ops(builder.finish(outputs, self.graph.output_names))

    def shadowed(self) -> tuple[Graph, Mapping[int, Value]]:
        """The float graph with a second result for each layer with weights: by integer ones.

        Both read the same floats. The second mapping is from the layer's number.
        """
        graph = self.variant(())
        names = [result.name for op in graph.ops for result in op.results]
        builder = GraphBuilder(graph.name, [*names, *(v.name for v in graph.inputs)])
        for value in graph.inputs:
            builder.input(value.name, value.type)
        numbers = {
            layer.anchor.results[0]: number
            for number, layer in enumerate(self.layers)
            if layer.anchor is not None and len(layer.anchor.results) == 1
        }
        shadows: dict[int, Value] = {}
        for op in graph.ops:
            builder.append(op)
            result = op.results[0]
            swapped = [n for n in range(len(op.operands)) if (result, n) in self.floats]
            if result not in numbers or not swapped:
                continue
            operands = list(op.operands)
            for number in swapped:
                operands[number] = builder.constant(self.integers[result, number], op.location)
            shadows[numbers[result]] = builder.emit(op.kind, *operands, name="shadow")
        outputs = (*graph.outputs, *shadows.values())
        names = [*graph.output_names, *(f"{value.name}" for value in shadows.values())]
        return builder.finish(outputs, names), shadows


def swapper(quantized: Graph, original: Graph) -> Swapper:
    """Pairs each quantized constant of a prepared graph with that of the prepared float graph.

    Ops belong together that give a value of the same name, or else contractions in their order.

    Raises:
        Refused: contractions differ in number or in the shapes of their weights.
    """
    layers = quantized_layers(quantized)
    theirs, known = known_arrays(original), known_arrays(quantized)
    by_name = {op.results[0].name: op for op in original.ops}
    in_order = _matched(_contractions(quantized, known), _contractions(original, theirs))
    floats: dict[_Operand, Array] = {}
    integers: dict[_Operand, Array] = {}
    for layer in layers:
        op = layer.anchor
        if op is None:
            continue
        result = op.results[0]
        twin = in_order.get(result, by_name.get(result.name))
        for number in layer.constants:
            value = op.operands[number]
            assert value is not None
            other = None if twin is None else _operand(twin, number)
            if other is not None and other in theirs and theirs[other].shape == value.type.dims:
                floats[result, number] = theirs[other]
                integers[result, number] = known[value]
    _refuse_other_weights(floats, integers)
    return Swapper(quantized, layers, floats, integers)


def _refuse_other_weights(
    floats: Mapping[_Operand, Array], integers: Mapping[_Operand, Array]
) -> None:
    """A single bad layer is what is looked for; most of them are another model."""
    distances = []
    for key in (key for key in floats if key[1] == 1):
        wide = floats[key].astype(np.float64)
        power = max(float(np.sum(wide * wide)), np.finfo(np.float64).tiny)
        distances.append(float(np.sum((integers[key] - wide) ** 2)) / power)
    if distances and float(np.median(distances)) > _OTHER_WEIGHTS:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "the weights of most layers are other ones than the float model's: it was trained or "
            "rescaled between, so that layers cannot be swapped",
            hint="give the float model that the other was quantized from",
        )


def _operand(op: Op, number: int) -> Value | None:
    return op.operands[number] if number < len(op.operands) else None


def _contractions(graph: Graph, known: Mapping[Value, Array]) -> tuple[Op, ...]:
    """Those with known weights."""
    return tuple(
        op
        for op in graph.ops
        if Trait.CONTRACTION in op.kind.traits
        and len(op.inputs) > 1
        and op.inputs[1] in known
        and op.inputs[0] not in known
    )


def _matched(quantized: Sequence[Op], original: Sequence[Op]) -> Mapping[Value, Op]:
    problems = []
    if len(quantized) != len(original):
        message = f"{len(quantized)} layers with weights against {len(original)} of the float model"
        problems.append(message)
    for ours, theirs in zip(quantized, original, strict=False):
        lhs, rhs = ours.inputs[1].type, theirs.inputs[1].type
        if lhs.shape != rhs.shape:
            problems.append(f"weights {lhs} of {ours.location} against {rhs} of {theirs.location}")
            break
    if problems:
        hint = "give the float model that the other was quantized from"
        raise Refused(Diagnostic(Code.UNSUPPORTED_FORM, text, hint=hint) for text in problems)
    return {ours.results[0]: theirs for ours, theirs in zip(quantized, original, strict=True)}
