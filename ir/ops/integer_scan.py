"""The sequential part of quantized LSTM and GRU layers, by integers alone.

As `ir.ops.scan`, of which they keep the order of gates, results and steps, but: gates [T, B, G H]
are i32 accumulators, the state h is i16 in steps of 2^-hidden_bits, and activations are curves.
A gate's input is its share of the product with x plus that with h, both requantized to steps of
2^-16: clamp(RNE(f32(gates) * gate_scale)) + clamp(RNE(f32(h R + bias) * recurrent_scale)), bounds
-2^21..2^21, then clamped to -clip..clip. The formulas are normative (docs/numerics.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.ops.fixed_point import CURVE_FRACTION, Curve, Wide, divided
from lepton_cc.ir.ops.scan import optional, run_scan
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

State = tuple[Wide, ...]

# Bits behind the point: of the gates' inputs, of an LSTM's cell, of a GRU's state between steps.
GATE_FRACTION = 16
CELL_FRACTION = 20
STATE_FRACTION = 24
GATE_LIMIT = 1 << 21
CELL_LIMIT = (1 << 31) - 1
# 1 as the value of a curve.
ONE = 1 << CURVE_FRACTION


def hidden_limit(hidden_bits: int) -> int:
    """The largest |h|: 1, or what i16 holds."""
    return min(1 << hidden_bits, (1 << 15) - 1)


def requantized_gate(total: Array, scale: Array) -> Wide:
    """clamp(RNE(f32(total) * scale)) to GATE_LIMIT."""
    real = total.astype(np.int32).astype(np.float32) * scale
    return np.rint(np.clip(real, -GATE_LIMIT, GATE_LIMIT)).astype(np.int64)


def _check(
    operands: Sequence[TensorType | None],
    curves: tuple[Curve, ...],
    num_gates: int,
    hidden_bits: int,
    lengths: int,
) -> tuple[TensorType, TensorType]:
    """Types of y [T, B, H] and of a state [B, H], both i16."""
    gates, recurrent, gate_scale, recurrent_scale = present(operands, 4)
    for curve in curves:
        curve.check()
    hidden = recurrent.dims[0] if recurrent.rank == 2 else 0
    width = num_gates * hidden
    narrow = recurrent.dtype.is_integer and recurrent.dtype.bits <= 16
    if gates.dtype is not DType.I32 or gates.rank != 3 or not narrow or not 1 <= hidden_bits <= 15:
        raise TypeInferenceError(f"quantized scan of gates {gates} with weights {recurrent}")
    if gates.dims[2] != width or recurrent.dims[1] != width:
        raise TypeInferenceError(f"quantized scan of gates {gates} with weights {recurrent}")
    if any(scale != TensorType(DType.F32, (width,)) for scale in (gate_scale, recurrent_scale)):
        raise TypeInferenceError(f"scales {gate_scale}, {recurrent_scale} for {width} columns")
    steps, batch, _ = gates.dims
    state = TensorType(DType.I16, (batch, hidden))
    h0, given = optional(operands, 4), optional(operands, lengths)
    if h0 is not None and h0 != state:
        raise TypeInferenceError(f"state {h0} is not {state}")
    if given is not None and given != TensorType(DType.I32, (batch,)):
        raise TypeInferenceError(f"sequence lengths {given} for a batch of {batch}")
    return state.with_shape((steps, batch, hidden)), state


def _at(operands: Sequence[Array | None], index: int) -> Array | None:
    return operands[index] if index < len(operands) else None


def _initial(operands: Sequence[Array | None], hidden_bits: int, hidden: int) -> Wide:
    given, gates = _at(operands, 4), arrays(operands, 1)[0]
    if given is None:
        return np.zeros((gates.shape[1], hidden), np.int64)
    limit = hidden_limit(hidden_bits)
    return np.clip(given.astype(np.int64), -limit, limit)


@dataclass(frozen=True, slots=True)
class Cell:
    """How an initial cell becomes fixed point: RNE((c0 - zero_point) multiplier / 2^shift)."""

    zero_point: int = 0
    multiplier: int = 1
    shift: int = 0


@dataclass(frozen=True, slots=True)
class QuantizedLstmScan(OpKind):
    """An LSTM's steps: y [T, B, H] and the last h [B, H] (i16), the last c [B, H] (i32).

    With i, o, f, g the curves of the gates' inputs (f = 1 - i with `input_forget`), in steps of
    2^-15, and the cell c in steps of 2^-20: c' = clamp(RNE((f c + i g 2^5) / 2^15)),
    h' = clamp(RNE(o curve(c') / 2^(30 - hidden_bits))). c0 is of any integers, see `Cell`.
    """

    MNEMONIC: ClassVar[str] = "quantized_lstm_scan"
    OPERANDS: ClassVar[tuple[str, ...]] = (
        *("gates", "recurrent_weights", "gate_scale", "recurrent_scale"),
        *("h0?", "c0?", "lengths?"),
    )
    curves: tuple[Curve, ...]
    hidden_bits: int
    clip: int = GATE_LIMIT * 2
    reverse: bool = False
    input_forget: bool = False
    cell: Cell = Cell()

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if len(self.curves) != 3:
            raise TypeInferenceError("an LSTM has three activations")
        y, state = _check(operands, self.curves, 4, self.hidden_bits, 6)
        cell = optional(operands, 5)
        if cell is not None and (not cell.dtype.is_integer or cell.shape != state.shape):
            raise TypeInferenceError(f"cell {cell} for a state {state}")
        return y, state, TensorType(DType.I32, state.shape)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        gates, recurrent, gate_scale, recurrent_scale = arrays(operands, 4)
        hidden, weights = recurrent.shape[0], recurrent.astype(np.int64)
        gate, candidate, output = self.curves
        limit = hidden_limit(self.hidden_bits)

        def step(inputs: Wide, state: State) -> State:
            h, c = state
            total = requantized_gate(inputs, gate_scale)
            total = total + requantized_gate(h @ weights, recurrent_scale)
            parts = np.split(np.clip(total, -self.clip, self.clip), 4, axis=1)
            i, o, f = (gate(part, GATE_FRACTION) for part in parts[:3])
            if self.input_forget:
                f = ONE - i
            enter = i * candidate(parts[3], GATE_FRACTION) << (CELL_FRACTION - CURVE_FRACTION)
            c = np.clip(divided(f * c + enter, CURVE_FRACTION), -CELL_LIMIT, CELL_LIMIT)
            product = o * output(c, CELL_FRACTION)
            h = divided(product, 2 * CURVE_FRACTION - self.hidden_bits)
            return np.clip(h, -limit, limit), c

        c0, lengths = _at(operands, 5), _at(operands, 6)
        h = _initial(operands, self.hidden_bits, hidden)
        c = np.zeros_like(h)
        if c0 is not None:
            scaled = (c0.astype(np.int64) - self.cell.zero_point) * self.cell.multiplier
            c = np.clip(divided(scaled, self.cell.shift), -CELL_LIMIT, CELL_LIMIT)
        y, (h, c) = run_scan(
            gates.astype(np.int64), (h, c), step, reverse=self.reverse, lengths=lengths
        )
        return y.astype(np.int16), h.astype(np.int16), c.astype(np.int32)


@dataclass(frozen=True, slots=True)
class QuantizedGruScan(OpKind):
    """A GRU's steps: y [T, B, H] and the last h [B, H] (i16).

    With z, r the curves of the gates' inputs, in steps of 2^-15: n is the curve of the candidate's
    input, in which h is RNE(r h / 2^15), or, with `linear_before_reset`, the recurrent share is
    RNE(r share / 2^15), to whose product `candidate_bias` [H] (i32) is added. Between steps the
    state is s in steps of 2^-24: s' = RNE(((2^15 - z) n 2^9 + z s) / 2^15), and h = clamp(RNE(s /
    2^(24 - hidden_bits))).
    """

    MNEMONIC: ClassVar[str] = "quantized_gru_scan"
    OPERANDS: ClassVar[tuple[str, ...]] = (
        *("gates", "recurrent_weights", "gate_scale", "recurrent_scale"),
        *("h0?", "candidate_bias?", "lengths?"),
    )
    curves: tuple[Curve, ...]
    hidden_bits: int
    clip: int = GATE_LIMIT * 2
    reverse: bool = False
    linear_before_reset: bool = False

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if len(self.curves) != 2:
            raise TypeInferenceError("a GRU has two activations")
        y, state = _check(operands, self.curves, 3, self.hidden_bits, 6)
        bias = optional(operands, 5)
        fits = bias == TensorType(DType.I32, state.shape[1:]) and self.linear_before_reset
        if bias is not None and not fits:
            raise TypeInferenceError(f"candidate bias {bias} for a state {state}")
        return y, state

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        gates, recurrent, gate_scale, recurrent_scale = arrays(operands, 4)
        hidden, weights = recurrent.shape[0], recurrent.astype(np.int64)
        gate, candidate = self.curves
        limit, dropped = hidden_limit(self.hidden_bits), STATE_FRACTION - self.hidden_bits
        bias = _at(operands, 5)
        offset = np.zeros(hidden, np.int64) if bias is None else bias.astype(np.int64)
        before, last = slice(0, 2 * hidden), slice(2 * hidden, None)

        def step(inputs: Wide, state: State) -> State:
            h, s = state
            total = requantized_gate(inputs, gate_scale)
            share = requantized_gate(h @ weights[:, before], recurrent_scale[before])
            both = gate(np.clip(total[:, before] + share, -self.clip, self.clip), GATE_FRACTION)
            z, r = both[:, :hidden], both[:, hidden:]
            if self.linear_before_reset:
                share = requantized_gate(h @ weights[:, last] + offset, recurrent_scale[last])
                share = divided(r * share, CURVE_FRACTION)
            else:
                kept = divided(r * h, CURVE_FRACTION)
                share = requantized_gate(kept @ weights[:, last], recurrent_scale[last])
            n = candidate(np.clip(total[:, last] + share, -self.clip, self.clip), GATE_FRACTION)
            blend = ((ONE - z) * n << (STATE_FRACTION - CURVE_FRACTION)) + z * s
            s = divided(blend, CURVE_FRACTION)
            return np.clip(divided(s, dropped), -limit, limit), s

        h = _initial(operands, self.hidden_bits, hidden)
        lengths = _at(operands, 6)
        start = (h, np.asarray(h << dropped, np.int64))
        y, (h, _) = run_scan(
            gates.astype(np.int64), start, step, reverse=self.reverse, lengths=lengths
        )
        return y.astype(np.int16), h.astype(np.int16)
