"""LSTM, GRU and RNN layers as ONNX nodes of one direction."""

import math

import numpy as np

from lepton_cc.export.writer import Attribute, Writer, identity
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.cell import Activation, CellFunction
from lepton_cc.ir.ops.recurrent import Gru, Lstm, Rnn
from lepton_cc.ir.tensor import Array

# Names of the standard; how many parameters each takes.
_FUNCTIONS = {
    CellFunction.AFFINE: ("Affine", 2),
    CellFunction.ELU: ("Elu", 1),
    CellFunction.HARD_SIGMOID: ("HardSigmoid", 2),
    CellFunction.LEAKY_RELU: ("LeakyRelu", 1),
    CellFunction.RELU: ("Relu", 0),
    CellFunction.SCALED_TANH: ("ScaledTanh", 2),
    CellFunction.SIGMOID: ("Sigmoid", 0),
    CellFunction.SOFTPLUS: ("Softplus", 0),
    CellFunction.SOFTSIGN: ("Softsign", 0),
    CellFunction.TANH: ("Tanh", 0),
    CellFunction.THRESHOLDED_RELU: ("ThresholdedRelu", 1),
}
# [in, gates * hidden] as ONNX's [direction, gates * hidden, in].
_WEIGHTS_ORDER = (0, 2, 1)


def _activation_attributes(activations: tuple[Activation, ...]) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {
        "activations": [_FUNCTIONS[one.function][0] for one in activations]
    }
    alphas = [one.alpha for one in activations if _FUNCTIONS[one.function][1] > 0]
    betas = [one.beta for one in activations if _FUNCTIONS[one.function][1] > 1]
    if alphas:
        attributes["activation_alpha"] = alphas
    if betas:
        attributes["activation_beta"] = betas
    return attributes


def _constant(writer: Writer, op: Op, value: Value) -> Array:
    array = writer.array(value)
    if array is None:
        raise writer.refuse(op, "a bias of it is computed")
    return array


def _both_biases(writer: Writer, op: Op, candidate: Value | None) -> str:
    """[1, 2 * gates * hidden]: ours with the inputs, zeros but for a GRU's candidate with H."""
    value = op.operands[3] if len(op.operands) > 3 else None
    if value is None and candidate is None:
        return ""
    size = op.inputs[1].type.dims[1]
    inputs = np.zeros(size, np.float32) if value is None else _constant(writer, op, value)
    recurrent = np.zeros(size, np.float32)
    if candidate is not None:
        own = _constant(writer, op, candidate)
        recurrent[size - own.size :] = own
    return writer.initializer(np.concatenate([inputs, recurrent])[None], "bias")


def _state(writer: Writer, value: Value | None) -> str:
    """[B, H] as [1, B, H]."""
    if value is None:
        return ""
    shape = writer.integers((1, *value.type.dims), "shape")
    return writer.node("Reshape", [writer.tensor(value), shape], value.name)


def _peepholes(writer: Writer, op: Op, value: Value | None) -> str:
    if value is None:
        return ""
    return writer.initializer(_constant(writer, op, value).reshape(1, -1), value.name)


def write_recurrent(writer: Writer, op: Op) -> None:
    """LSTM, GRU or RNN, forward or reverse, and its results without the axis of directions."""
    kind = op.kind
    assert isinstance(kind, Lstm | Gru | Rnn)
    given = (*op.operands, *[None] * (8 - len(op.operands)))
    x, weights, recurrent = op.inputs[:3]
    if x.type.dtype is not DType.F32:
        raise writer.refuse(op, f"its input is {x.type}")
    hidden = recurrent.type.dims[0]
    candidate = given[5] if isinstance(kind, Gru) else None
    lengths = given[7] if isinstance(kind, Lstm) else given[6 if isinstance(kind, Gru) else 5]
    names = [
        writer.tensor(x),
        writer.tensor(weights, _WEIGHTS_ORDER),
        writer.tensor(recurrent, _WEIGHTS_ORDER),
        _both_biases(writer, op, candidate),
        "" if lengths is None else writer.tensor(lengths),
        _state(writer, given[4]),
    ]
    attributes: dict[str, Attribute] = {"hidden_size": hidden}
    if isinstance(kind, Lstm):
        names += [_state(writer, given[5]), _peepholes(writer, op, given[6])]
        attributes.update(_activation_attributes(kind.activations))
        attributes["input_forget"] = int(kind.input_forget)
    elif isinstance(kind, Gru):
        attributes.update(_activation_attributes(kind.activations))
        attributes["linear_before_reset"] = int(kind.linear_before_reset)
    else:
        attributes.update(_activation_attributes((kind.activation,)))
    if math.isfinite(kind.clip):
        attributes["clip"] = kind.clip
    if kind.reverse:
        attributes["direction"] = "reverse"
    while not names[-1]:
        names.pop()
    op_type = {Lstm: "LSTM", Gru: "GRU", Rnn: "RNN"}[type(kind)]
    stems = [f"{result.name}.of_direction" for result in op.results]
    outputs = writer.node_with_outputs(op_type, names, stems, attributes)
    for result, output in zip(op.results, outputs, strict=True):
        shape = writer.integers(result.type.dims, "shape")
        y = writer.node("Reshape", [output, shape], result.name)
        writer.bind(result, y, identity(result.type.rank))


RULES = {Gru: write_recurrent, Lstm: write_recurrent, Rnn: write_recurrent}
