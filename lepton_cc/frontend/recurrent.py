"""ONNX RNN, GRU and LSTM: one recurrent op of the IR for each direction."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.cell import Activation, CellFunction
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.movement import Concat, Reshape, Slice, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.recurrent import Gru, Lstm, Rnn

# Names as in the standard, and the defaults of alpha and beta (None: it takes none).
_ACTIVATIONS: dict[str, tuple[CellFunction, float | None, float | None]] = {
    "affine": (CellFunction.AFFINE, 1.0, 0.0),
    "elu": (CellFunction.ELU, 1.0, None),
    "hardsigmoid": (CellFunction.HARD_SIGMOID, 0.2, 0.5),
    "leakyrelu": (CellFunction.LEAKY_RELU, 0.01, None),
    "relu": (CellFunction.RELU, None, None),
    "scaledtanh": (CellFunction.SCALED_TANH, 1.0, 1.0),
    "sigmoid": (CellFunction.SIGMOID, None, None),
    "softplus": (CellFunction.SOFTPLUS, None, None),
    "softsign": (CellFunction.SOFTSIGN, None, None),
    "tanh": (CellFunction.TANH, None, None),
    "thresholdedrelu": (CellFunction.THRESHOLDED_RELU, 1.0, None),
}


def _activations(node: NodeView, defaults: Sequence[str], directions: int) -> list[Activation]:
    """All directions' activations; alphas and betas go in order to those that take one."""
    names = node.strings("activations", tuple(defaults) * directions)
    if len(names) != len(defaults) * directions:
        node.refuse(
            f"{len(names)} activations for {len(defaults) * directions}", code=Code.MODEL_MALFORMED
        )
    alphas = iter(node.floats("activation_alpha", ()))
    betas = iter(node.floats("activation_beta", ()))
    activations = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            node.refuse(f"activation {name!r} is none of {', '.join(sorted(_ACTIVATIONS))}")
        function, alpha, beta = _ACTIVATIONS[name.lower()]
        activations.append(
            Activation(
                function,
                0.0 if alpha is None else next(alphas, alpha),
                0.0 if beta is None else next(betas, beta),
            )
        )
    return activations


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of the layer: what its kind and its operands are made of."""

    node: NodeView
    index: int
    activations: tuple[Activation, ...]
    reverse: bool

    @property
    def clip(self) -> float:
        """The bound of the activations' inputs."""
        return self.node.float("clip") if self.node.has("clip") else math.inf

    def part(self, operand: int) -> Value | None:
        """This direction's slice of an operand [directions, ...], without that dimension."""
        value = self.node.optional(operand)
        if value is None:
            return None
        dims = value.type.dims
        starts = (self.index, *[0] * (len(dims) - 1))
        part = Slice(starts, (1, *dims[1:]), (1,) * len(dims))
        return self.node.emit_folded(Reshape(dims[1:]), self.node.emit(part, value))

    def weights(self, operand: int) -> Value:
        """This direction's weights, transposed to [in, gates * H]."""
        value = self.part(operand)
        if value is None or value.type.rank != 2:
            self.node.refuse(f"input {operand} must be [directions, gates * hidden, in]")
        return self.node.emit_folded(Transpose((1, 0)), value)

    def bias_part(self, bias: Value, start: int, size: int) -> Value:
        """Elements of this direction's bias [2 * gates * H]."""
        return self.node.emit_folded(Slice((start,), (size,), (1,)), bias)

    def summed_bias(self) -> Value | None:
        """The input bias plus the recurrent bias."""
        bias = self.part(3)
        if bias is None:
            return None
        half = bias.type.num_elements // 2
        add = Binary(BinaryFunction.ADD)
        return self.node.emit_folded(
            add, self.bias_part(bias, 0, half), self.bias_part(bias, half, half)
        )

    def state(self, operand: int) -> Value | None:
        """An initial state [B, H]; with layout 1 the operand is [B, directions, H]."""
        value = self.node.optional(operand)
        if value is None or not self.node.flag("layout"):
            return self.part(operand)
        if value.type.rank != 3:
            self.node.refuse(f"state {value.type} is not of rank 3", code=Code.MODEL_MALFORMED)
        batch, _, hidden = value.type.dims
        part = Slice((0, self.index, 0), (batch, 1, hidden), (1, 1, 1))
        return self.node.emit_folded(Reshape((batch, hidden)), self.node.emit(part, value))


def _lengths(node: NodeView, steps: int) -> Value | None:
    """The sequence lengths as i32; None if they are known to be the full length."""
    value = node.optional(4)
    if value is None:
        return None
    array = node.content(value)
    if array is not None and all(int(length) == steps for length in array.reshape(-1)):
        return None
    return node.cast(value, DType.I32)


Layer = tuple[OpKind, tuple[Value | None, ...]]


def _rnn(direction: _Direction, lengths: Value | None) -> Layer:
    kind = Rnn(direction.activations[0], direction.clip, direction.reverse)
    return kind, (direction.summed_bias(), direction.state(5), lengths)


def _gru(direction: _Direction, lengths: Value | None) -> Layer:
    node = direction.node
    linear = node.flag("linear_before_reset")
    kind = Gru(direction.activations, direction.clip, direction.reverse, linear)
    bias = direction.part(3)
    if not linear or bias is None:
        return kind, (direction.summed_bias(), direction.state(5), None, lengths)
    hidden = bias.type.num_elements // 6
    add = Binary(BinaryFunction.ADD)
    gates = node.emit_folded(
        add,
        direction.bias_part(bias, 0, 2 * hidden),
        direction.bias_part(bias, 3 * hidden, 2 * hidden),
    )
    inputs = node.emit_folded(Concat(0), gates, direction.bias_part(bias, 2 * hidden, hidden))
    candidate = direction.bias_part(bias, 5 * hidden, hidden)
    return kind, (inputs, direction.state(5), candidate, lengths)


def _lstm(direction: _Direction, lengths: Value | None) -> Layer:
    forget = direction.node.flag("input_forget")
    kind = Lstm(direction.activations, direction.clip, direction.reverse, forget)
    peepholes = direction.part(7)
    if peepholes is not None:
        peepholes = direction.node.emit_folded(
            Reshape((3, peepholes.type.num_elements // 3)), peepholes
        )
    states = direction.state(5), direction.state(6)
    return kind, (direction.summed_bias(), *states, peepholes, lengths)


def _import_layer(
    node: NodeView,
    make: Callable[[_Direction, Value | None], Layer],
    defaults: tuple[str, ...],
) -> Sequence[Value | None]:
    """Y [T, D, B, H] and the last states [D, B, H]; layout 1: [B, T, D, H] and [B, D, H]."""
    way = node.string("direction", "forward")
    reversals = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    if way not in reversals:
        node.refuse(f"direction {way!r} is unknown", code=Code.MODEL_MALFORMED)
    batch_first = node.flag("layout")
    x = node.operand(0)
    if x.type.rank != 3:
        node.refuse(f"input {x.type} is not of rank 3", code=Code.MODEL_MALFORMED)
    x = node.transpose(x, (1, 0, 2)) if batch_first else x
    activations = _activations(node, defaults, len(reversals[way]))
    lengths = _lengths(node, x.type.dims[0])
    results = []
    for index, reverse in enumerate(reversals[way]):
        own = tuple(activations[index * len(defaults) : (index + 1) * len(defaults)])
        direction = _Direction(node, index, own, reverse)
        kind, operands = make(direction, lengths)
        while operands and operands[-1] is None:
            operands = operands[:-1]
        results.append(
            node.emit_many(kind, x, direction.weights(1), direction.weights(2), *operands)
        )
    return _joined(node, results, batch_first=batch_first)


def _joined(
    node: NodeView, results: Sequence[Sequence[Value]], *, batch_first: bool
) -> Sequence[Value]:
    """The directions' results (y, then states), concatenated in ONNX's layout."""
    joined = []
    for number, parts in enumerate(zip(*results, strict=True)):
        axis = 1 if number == 0 else 0
        dims = parts[0].type.dims
        shape = (*dims[:axis], 1, *dims[axis:])
        expanded = [node.reshape(part, shape) for part in parts]
        value = expanded[0] if len(expanded) == 1 else node.emit(Concat(axis), *expanded)
        if batch_first:
            value = node.transpose(value, (2, 0, 1, 3) if number == 0 else (1, 0, 2))
        joined.append(value)
    return joined


def import_rnn(node: NodeView) -> Sequence[Value | None]:
    """RNN with every activation of the standard, both layouts, sequence lengths."""
    return _import_layer(node, _rnn, ("Tanh",))


def import_gru(node: NodeView) -> Sequence[Value | None]:
    """GRU with every activation of the standard, both layouts, sequence lengths."""
    return _import_layer(node, _gru, ("Sigmoid", "Tanh"))


def import_lstm(node: NodeView) -> Sequence[Value | None]:
    """LSTM with every activation of the standard, both layouts, sequence lengths, peepholes."""
    return _import_layer(node, _lstm, ("Sigmoid", "Tanh", "Tanh"))


OPERATORS = (
    Operator("", "RNN", 1, import_rnn),
    Operator("", "GRU", 1, import_gru),
    Operator("", "LSTM", 1, import_lstm),
)
