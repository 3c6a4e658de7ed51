"""Blocks of a graph: what lies between two values through which everything flows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.reconstruct.gradients import ELEMENTARY, Rule
from lepton_cc.passes.reconstruct.window_gradients import WINDOWED

RULES: Mapping[type, Rule] = {**ELEMENTARY, **WINDOWED}


@dataclass(frozen=True, slots=True)
class Block:
    """Ops between two values, in order, and the constants that they read.

    `trained` are the weights and biases of contractions that only the block reads.
    """

    entry: Value
    exit: Value
    ops: tuple[Op, ...]
    constants: Mapping[Value, Array]
    trained: tuple[Value, ...]

    @property
    def refusal(self) -> str:
        """What keeps the block from being differentiated; empty if nothing does."""
        for op in self.ops:
            rule = RULES.get(type(op.kind))
            if rule is None or not rule.covers(op):
                return f"{op.kind.mnemonic} has no gradient here"
            given = [value for value in op.inputs if value not in self.constants]
            if any(
                value.type.rank == 0 or value.type.dims[0] != 1 for value in (*given, op.result)
            ):
                return f"{op.kind.mnemonic} works on more than one sample"
        return ""

    def forward(self, x: Array, arrays: Mapping[Value, Array]) -> dict[Value, Array]:
        """Every value inside, of samples stacked along the first dimension of x."""
        values = {**self.constants, **arrays, self.entry: x}
        for op in self.ops:
            rule = RULES[type(op.kind)]
            values[op.result] = rule.forward(op, [values[value] for value in op.inputs])
        return values

    def backward(
        self, values: Mapping[Value, Array], dy: Array, inner: Mapping[Value, Array] | None = None
    ) -> dict[Value, Array]:
        """The gradients of what is trained, for that of the exit and of values inside."""
        found: dict[Value, Array] = {**(inner or {}), self.exit: dy}
        for op in reversed(self.ops):
            gradient = found.pop(op.result, None)
            if gradient is None:
                continue
            operands = [values[value] for value in op.inputs]
            rule, inputs = RULES[type(op.kind)], op.inputs
            if inputs[0] is self.entry and rule.constants is not None:
                steps, inputs = rule.constants(op, operands, gradient), inputs[1:]
            else:
                steps = rule.backward(op, operands, values[op.result], gradient)
            for value, step in zip(inputs, steps, strict=True):
                if value not in self.constants or value in self.trained:
                    found[value] = found[value] + step if value in found else step
        return {value: found[value] for value in self.trained}


def blocks(graph: Graph, cuts: Mapping[str, Value], fewest_layers: int) -> tuple[Block, ...]:
    """The blocks of a graph, each with so many contractions with constant weights or more.

    Cuts are at values of these names through which every path leads: a residual block ends at its
    sum. What follows the last cut that has layers before it belongs to no block.
    """
    arrays = {op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)}
    ops = [op for op in graph.ops if op.results[0] not in arrays]
    last_use = {value: n for n, op in enumerate(ops) for value in op.inputs}
    last_use.update(dict.fromkeys(graph.outputs, len(ops)))
    if len(graph.inputs) != 1:
        return ()
    (entry,) = graph.inputs
    alive = {entry}
    current: list[Op] = []
    found: list[Block] = []
    for number, op in enumerate(ops):
        current.append(op)
        alive = {v for v in (*alive, *op.results) if last_use.get(v, -1) > number}
        layers = sum(_is_layer(one, arrays) for one in current)
        if layers < fewest_layers and (not layers or _has_layers(ops[number + 1 :], arrays)):
            continue
        if alive == {op.results[0]} and op.results[0].name in cuts and _ends_well(ops, number):
            found.append(_block(graph, entry, op.results[0], current, arrays))
            entry, current = op.results[0], []
    return tuple(found)


def _is_layer(op: Op, arrays: Mapping[Value, Array]) -> bool:
    return isinstance(op.kind, Conv | MatMul) and op.inputs[1] in arrays


def _has_layers(ops: Sequence[Op], arrays: Mapping[Value, Array]) -> bool:
    return any(_is_layer(op, arrays) for op in ops)


def _ends_well(ops: Sequence[Op], number: int) -> bool:
    """Whether no activation follows that belongs to the block: its flat parts tell what counts."""
    following = ops[number + 1 : number + 2]
    return not (following and type(following[0].kind).MNEMONIC == "clamp")


def _block(
    graph: Graph, entry: Value, exit_: Value, ops: Sequence[Op], arrays: Mapping[Value, Array]
) -> Block:
    uses = graph.uses()
    read = dict.fromkeys(value for op in ops for value in op.inputs if value in arrays)
    trained = [
        value
        for op in ops
        if _is_layer(op, arrays)
        for value in op.inputs[1:]
        if value in arrays and len(uses[value]) == 1
    ]
    return Block(entry, exit_, tuple(ops), {v: arrays[v] for v in read}, tuple(trained))
