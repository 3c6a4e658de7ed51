"""What stays float after raising, and why: for `lepton inspect` and `--require-integer`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lepton_cc.ir.diagnostics import Code, Diagnostic
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.recurrent import Gru, Lstm, RecurrentLayer
from lepton_cc.passes.quantize.recurrent import curve_of

Producers = Mapping[Value, Op]


@dataclass(frozen=True, slots=True)
class FloatOp:
    """An op that computes in floating point, and the reason."""

    op: Op
    reason: str

    def diagnostic(self) -> Diagnostic:
        """The refusal of this op where only integers are allowed."""
        return Diagnostic(
            Code.UNSUPPORTED_FORM,
            f"{self.op.kind.mnemonic} stays float: {self.reason}",
            node=str(self.op.location) or self.op.kind.mnemonic,
            hint="quantize what it reads and gives, or compile without --require-integer",
        )


def float_ops(graph: Graph) -> tuple[FloatOp, ...]:
    """The ops of a raised graph that compute with floats, in order.

    Quantizing graph inputs and dequantizing graph outputs is not among them, nor is moving floats,
    nor what hangs on constants alone. The graph must not be fused yet.
    """
    producers = graph.producers()
    uses = graph.uses()
    outputs = frozenset(graph.outputs)
    from_inputs = _moved_inputs(graph)
    to_outputs = _moved_outputs(graph)
    found = []
    for op in graph.ops:
        moves = isinstance(op.kind, Constant) or _is_movement(op)
        if moves or not _touches_floats(op, producers):
            continue
        if isinstance(op.kind, Quantize) and op.inputs[0] in from_inputs:
            continue
        if isinstance(op.kind, Dequantize) and op.result in to_outputs:
            continue
        readers = [use for result in op.results for use in uses.get(result, ())]
        found.append(FloatOp(op, _reason(op, producers, readers, outputs)))
    return tuple(found)


def _is_movement(op: Op) -> bool:
    return Trait.MOVEMENT in op.kind.traits and len(op.results) == 1


def _touches_floats(op: Op, producers: Producers) -> bool:
    variables = _variables(op, producers)
    if op.inputs and not variables:
        return False
    return any(value.type.dtype.is_float for value in (*variables, *op.results))


def _is_constant(op: Op | None) -> bool:
    return op is not None and isinstance(op.kind, Constant)


def _moved_inputs(graph: Graph) -> frozenset[Value]:
    """Graph inputs and what only moves their elements."""
    moved = set(graph.inputs)
    for op in graph.ops:
        if _is_movement(op) and op.inputs and op.inputs[0] in moved:
            moved.update(op.results)
    return frozenset(moved)


def _moved_outputs(graph: Graph) -> frozenset[Value]:
    """Graph outputs and what only moves to them."""
    moved = set(graph.outputs)
    readers = graph.uses()
    for op in reversed(graph.ops):
        for result in op.results:
            uses = readers.get(result, ())
            if uses and all(_is_movement(use) and use.results[0] in moved for use in uses):
                moved.add(result)
    return frozenset(moved)


def _reason(op: Op, producers: Producers, readers: Iterable[Op], outputs: frozenset[Value]) -> str:
    kind = op.kind
    if isinstance(kind, Conv | ConvTranspose | MatMul):
        return _contraction_reason(op, producers)
    if isinstance(kind, RecurrentLayer):
        return _recurrent_reason(op, kind, producers)
    if isinstance(kind, Quantize):
        return "it quantizes what stays float" + _unknown_parameters(op, producers)
    if isinstance(kind, Dequantize):
        return "floats read its result" + _unknown_parameters(op, producers)
    if not all(_is_dequantized(v, producers) for v in _variables(op, producers)):
        return "it reads floats"
    if not any(isinstance(reader.kind, Quantize) for reader in readers):
        at_output = any(result in outputs for result in op.results)
        return "its result is a float output" if at_output else "its result is not quantized"
    return "it has no integer form"


def _variables(op: Op, producers: Producers) -> list[Value]:
    return [v for v in op.inputs if not _is_constant(producers.get(v))]


def _is_dequantized(value: Value, producers: Producers) -> bool:
    op = producers.get(value)
    return op is not None and isinstance(op.kind, Dequantize)


def _unknown_parameters(op: Op, producers: Producers) -> str:
    known = all(_is_constant(producers.get(v)) for v in op.inputs[1:])
    return "" if known else ", by parameters that are computed at run time"


def _contraction_reason(op: Op, producers: Producers) -> str:
    x, weights, *bias = op.inputs
    if not _is_dequantized(x, producers):
        return "its input is not quantized"
    if not _is_dequantized(weights, producers):
        return "its weights are not quantized"
    if (
        bias
        and not _is_constant(producers.get(bias[0]))
        and not _is_dequantized(bias[0], producers)
    ):
        return "its bias is computed at run time"
    return "its scales vary otherwise than by output channel, or 32 bits could overflow"


def _recurrent_reason(op: Op, kind: RecurrentLayer, producers: Producers) -> str:
    x, *weights = op.inputs[:3]
    if not _is_dequantized(x, producers):
        return "its input is not quantized"
    if not all(_is_dequantized(value, producers) for value in weights):
        return "its weights are not quantized"
    if not isinstance(kind, Lstm | Gru):
        return "a simple recurrent layer has no integer form"
    if any(curve_of(activation) is None for activation in kind.activations):
        return "an activation leaves -1..1 or does not level off"
    if isinstance(kind, Lstm) and len(op.operands) > 6 and op.operands[6] is not None:
        return "it has peepholes"
    states = op.operands[4:6] if isinstance(kind, Lstm) else op.operands[4:5]
    if any(value is not None and not _is_dequantized(value, producers) for value in states):
        return "its initial state is not quantized"
    return "its scales vary otherwise than by column of the weights, or 32 bits could overflow"
