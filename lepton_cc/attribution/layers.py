"""The layers of a quantized graph: an op that computes, with its weights and its result's pair.

Works on graphs before integers are raised: floats between pairs of Quantize and Dequantize.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class Pair:
    """A Quantize whose integers nothing but `dequantizes` reads."""

    quantize: Op
    dequantizes: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class QuantizedLayer:
    """What is swapped as one: constants of an op, and the pairs behind it.

    `anchor` None: the pair of a graph input. `constants`: positions of operands that hang on
    dequantized constants alone.
    """

    name: str
    operation: str
    nodes: tuple[str, ...]
    anchor: Op | None
    constants: tuple[int, ...]
    pairs: tuple[Pair, ...]


def known_arrays(graph: Graph) -> Mapping[Value, Array]:
    """The content of every value that hangs on constants alone."""
    found: dict[Value, Array] = {}
    for op in graph.ops:
        if isinstance(op.kind, Constant):
            found[op.result] = op.kind.value.array
        elif op.inputs and all(value in found for value in op.inputs):
            operands = [None if v is None else found[v] for v in op.operands]
            found.update(zip(op.results, op.kind.evaluate(operands), strict=True))
    return found


def quantized_layers(graph: Graph) -> tuple[QuantizedLayer, ...]:
    """All layers in the order of the graph; pairs that cannot be taken out belong to none."""
    known = known_arrays(graph)
    dequantized = _dequantized_constants(graph, known)
    pairs = _pairs(graph, known)
    producers = graph.producers()
    behind = {op.result: pair for pair in pairs for op in pair.dequantizes}
    by_anchor: dict[Value, list[Pair]] = {}
    for pair in pairs:
        anchor = _anchor(pair, producers, behind, known)
        by_anchor.setdefault(anchor, []).append(pair)
    layers = [
        QuantizedLayer(value.name, "input", (), None, (), tuple(by_anchor[value]))
        for value in graph.inputs
        if value in by_anchor
    ]
    for op in graph.ops:
        if op.results[0] in known:
            continue
        constants = tuple(
            n for n, v in enumerate(op.operands) if v is not None and v in dequantized
        )
        held = tuple(pair for value in op.results for pair in by_anchor.get(value, ()))
        parameters = isinstance(op.kind, Quantize | Dequantize)
        if held or (constants and not parameters):
            name = op.location.nodes[0] if op.location.nodes else op.results[0].name
            layers.append(
                QuantizedLayer(name, op.kind.mnemonic, op.location.nodes, op, constants, held)
            )
    return tuple(layers)


def _dequantized_constants(graph: Graph, known: Mapping[Value, Array]) -> frozenset[Value]:
    """Known values with a Dequantize on their way."""
    found: set[Value] = set()
    for op in graph.ops:
        if len(op.results) != 1 or op.result not in known:
            continue
        if isinstance(op.kind, Dequantize) or not found.isdisjoint(op.inputs):
            found.add(op.result)
    return frozenset(found)


def _pairs(graph: Graph, known: Mapping[Value, Array]) -> tuple[Pair, ...]:
    uses, outputs = graph.uses(), frozenset(graph.outputs)
    found = []
    for op in graph.ops:
        if not isinstance(op.kind, Quantize) or op.result in known or op.result in outputs:
            continue
        readers = uses.get(op.result, ())
        same = all(
            isinstance(reader.kind, Dequantize)
            and reader.inputs[0] == op.result
            and reader.result.type == op.inputs[0].type
            for reader in readers
        )
        if readers and same and all(value in known for value in op.inputs[1:]):
            found.append(Pair(op, readers))
    return tuple(found)


def _anchor(
    pair: Pair,
    producers: Mapping[Value, Op],
    behind: Mapping[Value, Pair],
    known: Mapping[Value, Array],
) -> Value:
    """The result of the op that made what is quantized, above relus, reshapes and the like.

    Elements that were only moved since they had the very same scale belong to where they got it.
    """
    value, moved = pair.quantize.inputs[0], True
    while True:
        op = producers.get(value)
        if op is None or Trait.CONTRACTION in op.kind.traits:
            return value
        variable = [v for v in op.inputs if v not in known]
        moved = moved and (Trait.MOVEMENT in op.kind.traits or isinstance(op.kind, MaxPool))
        if len(variable) != 1:
            return value
        before = behind.get(variable[0])
        if before is None:
            value = variable[0]
        elif moved and _same_parameters(pair, before, known):
            value = before.quantize.inputs[0]
        else:
            # A chain behind another pair is itself what computes.
            return value


def _same_parameters(first: Pair, second: Pair, known: Mapping[Value, Array]) -> bool:
    lhs, rhs = first.quantize.inputs[1:], second.quantize.inputs[1:]
    return len(lhs) == len(rhs) and all(
        np.array_equal(known[a], known[b]) for a, b in zip(lhs, rhs, strict=True)
    )
