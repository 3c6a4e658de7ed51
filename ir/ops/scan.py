"""Recurrent scans: the sequential part of RNN, GRU and LSTM, its input products computed before.

`passes.lower_recurrent` makes them from `ir.ops.recurrent`. All run over `gates` [T, B, G H],
forwards or (`reverse`) from the last step to the first; y [T, B, H] stands in the order of the
steps either way. A batch row whose `lengths` entry is not above t skips step t: its y is 0 and
its state stays. Absent initial states are zero. `clip` bounds the inputs of the gates' activations.
Types narrower than 32 bits compute in binary32.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.ops.cell import SIGMOID, TANH, Activation
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

# Binary32 or binary64: what scans compute in.
Floats = NDArray[np.floating]
State = tuple[Floats, ...]
Number = TypeVar("Number", bound=np.generic)


def optional(operands: Sequence[TensorType | None], index: int) -> TensorType | None:
    """The type of an operand that may be absent or beyond the end."""
    return operands[index] if index < len(operands) else None


def check_scan_operands(
    operands: Sequence[TensorType | None],
    num_gates: int,
    extras: Sequence[tuple[int, tuple[int, ...]]],
    lengths: int,
) -> tuple[TensorType, TensorType]:
    """Types of y [T, B, H] and of one state [B, H].

    `extras` lists optional operands with the shape that each must have; in it -1 stands for B
    and -2 for H. `lengths` is the operand that holds the i32 sequence lengths [B].

    Raises:
        TypeInferenceError: an operand does not fit.
    """
    gates, recurrent = present(operands, 2)
    hidden = recurrent.dims[0] if recurrent.rank == 2 else 0
    if (
        gates.rank != 3
        or recurrent.shape != (hidden, num_gates * hidden)
        or gates.shape[2] != num_gates * hidden
        or gates.dtype is not recurrent.dtype
        or not gates.dtype.is_float
    ):
        raise TypeInferenceError(f"scan of gates {gates} with recurrent weights {recurrent}")
    steps, batch = gates.dims[:2]
    named = {-1: batch, -2: hidden}
    for index, shape in extras:
        expected = TensorType(gates.dtype, tuple(named.get(dim, dim) for dim in shape))
        given = optional(operands, index)
        if given is not None and given != expected:
            raise TypeInferenceError(f"operand {index} of the scan is {given}, not {expected}")
    given = optional(operands, lengths)
    if given is not None and given != TensorType(DType.I32, (batch,)):
        raise TypeInferenceError(f"sequence lengths {given} for a batch of {batch}")
    state = TensorType(gates.dtype, (batch, hidden))
    return state.with_shape((steps, batch, hidden)), state


def run_scan(
    gates: NDArray[Number],
    initial: tuple[NDArray[Number], ...],
    step: Callable[[NDArray[Number], tuple[NDArray[Number], ...]], tuple[NDArray[Number], ...]],
    *,
    reverse: bool,
    lengths: Array | None,
) -> tuple[NDArray[Number], tuple[NDArray[Number], ...]]:
    """All steps' h and the final state; `step` maps one step's gates and the state to the next.

    The state is h first, and then what else the cell keeps.
    """
    state = initial
    y = np.zeros((gates.shape[0], *initial[0].shape), gates.dtype)
    order = range(gates.shape[0])
    for t in reversed(order) if reverse else order:
        following = step(gates[t], state)
        if lengths is None:
            state, y[t] = following, following[0]
        else:
            active = np.greater(lengths, t)[:, None]
            pairs = zip(following, state, strict=True)
            state = tuple(np.where(active, new, old) for new, old in pairs)
            y[t] = np.where(active, following[0], 0)
    return y, state


def _operand(operands: Sequence[Array | None], index: int, like: Floats) -> Floats | None:
    given = operands[index] if index < len(operands) else None
    return None if given is None else given.astype(like.dtype)


def _initial(operands: Sequence[Array | None], index: int, gates: Floats, hidden: int) -> Floats:
    given = _operand(operands, index, gates)
    return np.zeros((gates.shape[1], hidden), gates.dtype) if given is None else given


def _lengths(operands: Sequence[Array | None], index: int) -> Array | None:
    return operands[index] if index < len(operands) else None


def _wide(operands: Sequence[Array | None]) -> tuple[Floats, Floats]:
    gates, recurrent = arrays(operands, 2)
    dtype = np.dtype(np.float32) if gates.dtype.itemsize < 4 else gates.dtype
    return gates.astype(dtype), recurrent.astype(dtype)


@dataclass(frozen=True, slots=True)
class RnnScan(OpKind):
    """h[t] = f(gates[t] + h[t-1] R): results y [T, B, H] and the last h [B, H].

    gates [T, B, H], recurrent_weights R [H, H], h0 [B, H], lengths i32 [B]. ONNX RNN-14.
    """

    MNEMONIC: ClassVar[str] = "rnn_scan"
    OPERANDS: ClassVar[tuple[str, ...]] = ("gates", "recurrent_weights", "h0?", "lengths?")
    activation: Activation = TANH
    clip: float = math.inf
    reverse: bool = False

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        return check_scan_operands(operands, 1, ((2, (-1, -2)),), 3)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        narrow = arrays(operands, 1)[0].dtype
        gates, recurrent = _wide(operands)

        def step(inputs: Floats, state: State) -> State:
            (h,) = state
            return (self.activation(np.clip(inputs + h @ recurrent, -self.clip, self.clip)),)

        h0 = _initial(operands, 2, gates, recurrent.shape[0])
        y, (h,) = run_scan(gates, (h0,), step, reverse=self.reverse, lengths=_lengths(operands, 3))
        return y.astype(narrow), h.astype(narrow)


@dataclass(frozen=True, slots=True)
class GruScan(OpKind):
    """A GRU's steps; gates in the order z, r, h: results y [T, B, H] and the last h [B, H].

    z = f(gates_z + h R_z), r = f(gates_r + h R_r), n = g(gates_h + (r h) R_h), or with
    `linear_before_reset` n = g(gates_h + r (h R_h + candidate_bias)); h' = (1 - z) n + z h.
    gates [T, B, 3 H], recurrent_weights [H, 3 H], h0 [B, H], candidate_bias [H], lengths i32 [B];
    activations are f, g. ONNX GRU-14.
    """

    MNEMONIC: ClassVar[str] = "gru_scan"
    OPERANDS: ClassVar[tuple[str, ...]] = (
        "gates",
        "recurrent_weights",
        "h0?",
        "candidate_bias?",
        "lengths?",
    )
    activations: tuple[Activation, ...] = (SIGMOID, TANH)
    clip: float = math.inf
    reverse: bool = False
    linear_before_reset: bool = False

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if len(self.activations) != 2:
            raise TypeInferenceError("a GRU has two activations")
        if optional(operands, 3) is not None and not self.linear_before_reset:
            raise TypeInferenceError("a candidate bias needs linear_before_reset")
        return check_scan_operands(operands, 3, ((2, (-1, -2)), (3, (-2,))), 4)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        narrow = arrays(operands, 1)[0].dtype
        gates, recurrent = _wide(operands)
        hidden = recurrent.shape[0]
        bias = _operand(operands, 3, gates)
        gate, candidate = self.activations

        def clipped(x: Floats) -> Floats:
            return np.clip(x, -self.clip, self.clip)

        def step(inputs: Floats, state: State) -> State:
            (h,) = state
            both = clipped(inputs[:, : 2 * hidden] + h @ recurrent[:, : 2 * hidden])
            z, r = gate(both[:, :hidden]), gate(both[:, hidden:])
            if self.linear_before_reset:
                product = h @ recurrent[:, 2 * hidden :]
                product = r * (product if bias is None else product + bias)
            else:
                product = (r * h) @ recurrent[:, 2 * hidden :]
            n = candidate(clipped(inputs[:, 2 * hidden :] + product))
            return ((1 - z) * n + z * h,)

        h0 = _initial(operands, 2, gates, hidden)
        y, (h,) = run_scan(gates, (h0,), step, reverse=self.reverse, lengths=_lengths(operands, 4))
        return y.astype(narrow), h.astype(narrow)


@dataclass(frozen=True, slots=True)
class LstmScan(OpKind):
    """An LSTM's steps; gates in the order i, o, f, c: results y [T, B, H], last h and c [B, H].

    i = f(gates_i + h R_i + P_i c), f = f(gates_f + h R_f + P_f c) or 1 - i with `input_forget`,
    c' = f c + i g(gates_c + h R_c), o = f(gates_o + h R_o + P_o c'), h' = o h(c').
    gates [T, B, 4 H], recurrent_weights [H, 4 H], h0 and c0 [B, H], peepholes [3, H] (i, o, f),
    lengths i32 [B]; activations are f, g, h. ONNX LSTM-14.
    """

    MNEMONIC: ClassVar[str] = "lstm_scan"
    OPERANDS: ClassVar[tuple[str, ...]] = (
        "gates",
        "recurrent_weights",
        "h0?",
        "c0?",
        "peepholes?",
        "lengths?",
    )
    activations: tuple[Activation, ...] = (SIGMOID, TANH, TANH)
    clip: float = math.inf
    reverse: bool = False
    input_forget: bool = False

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if len(self.activations) != 3:
            raise TypeInferenceError("an LSTM has three activations")
        extras = ((2, (-1, -2)), (3, (-1, -2)), (4, (3, -2)))
        y, state = check_scan_operands(operands, 4, extras, 5)
        return y, state, state

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        narrow = arrays(operands, 1)[0].dtype
        gates, recurrent = _wide(operands)
        hidden = recurrent.shape[0]
        peepholes = _operand(operands, 4, gates)
        peep_i, peep_o, peep_f = np.zeros((3, 1), gates.dtype) if peepholes is None else peepholes
        gate, candidate, output = self.activations

        def clipped(x: Floats) -> Floats:
            return np.clip(x, -self.clip, self.clip)

        def step(inputs: Floats, state: State) -> State:
            h, c = state
            in_i, in_o, in_f, in_c = np.split(inputs + h @ recurrent, 4, axis=1)
            i = gate(clipped(in_i + peep_i * c))
            f = 1 - i if self.input_forget else gate(clipped(in_f + peep_f * c))
            c = f * c + i * candidate(clipped(in_c))
            return gate(clipped(in_o + peep_o * c)) * output(c), c

        initial = tuple(_initial(operands, index, gates, hidden) for index in (2, 3))
        y, (h, c) = run_scan(
            gates, initial, step, reverse=self.reverse, lengths=_lengths(operands, 5)
        )
        return y.astype(narrow), h.astype(narrow), c.astype(narrow)
