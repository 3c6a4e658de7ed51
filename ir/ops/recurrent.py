"""Recurrent layers of one direction as ONNX defines them; `passes.lower_recurrent` makes scans.

x is [T, B, I], input_weights [I, G H], recurrent_weights [H, G H], bias [G H] (the sum of ONNX's
input and recurrent biases); the other operands and the results are those of the scan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import InternalError, TypeInferenceError
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.ops.cell import SIGMOID, TANH, Activation
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

_GATED = ("x", "input_weights", "recurrent_weights", "bias?")


@dataclass(frozen=True, slots=True)
class RecurrentLayer(OpKind):
    """Base of rnn, gru and lstm: the product of all steps' inputs, and then the scan."""

    @property
    def scan(self) -> OpKind:
        """The scan that does the sequential part."""
        raise InternalError(f"{type(self).__name__} does not define scan")

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, weights, recurrent = present(operands, 3)
        if x.rank != 3 or weights.rank != 2:
            raise TypeInferenceError(f"{self.mnemonic} of {x} with weights {weights}")
        bias = operands[3] if len(operands) > 3 else None
        (gates,) = MatMul().infer((x, weights, bias))
        return self.scan.infer((gates, recurrent, *operands[4:]))

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, weights, recurrent = arrays(operands, 3)
        bias = operands[3] if len(operands) > 3 else None
        steps, batch, features = x.shape
        rows = x.reshape(steps * batch, features)
        (gates,) = MatMul().evaluate((rows, weights, bias))
        gates = np.reshape(gates, (steps, batch, weights.shape[1]))
        return self.scan.evaluate((gates, recurrent, *operands[4:]))


@dataclass(frozen=True, slots=True)
class Rnn(RecurrentLayer):
    """A simple recurrent layer: `RnnScan` over x W + bias."""

    MNEMONIC: ClassVar[str] = "rnn"
    OPERANDS: ClassVar[tuple[str, ...]] = (*_GATED, "h0?", "lengths?")
    activation: Activation = TANH
    clip: float = math.inf
    reverse: bool = False

    @property
    def scan(self) -> OpKind:
        return RnnScan(self.activation, self.clip, self.reverse)


@dataclass(frozen=True, slots=True)
class Gru(RecurrentLayer):
    """A GRU layer: `GruScan` over x W + bias.

    With `linear_before_reset` the candidate's recurrent bias is the operand `candidate_bias` [H]
    and no part of `bias`.
    """

    MNEMONIC: ClassVar[str] = "gru"
    OPERANDS: ClassVar[tuple[str, ...]] = (*_GATED, "h0?", "candidate_bias?", "lengths?")
    activations: tuple[Activation, ...] = (SIGMOID, TANH)
    clip: float = math.inf
    reverse: bool = False
    linear_before_reset: bool = False

    @property
    def scan(self) -> OpKind:
        return GruScan(self.activations, self.clip, self.reverse, self.linear_before_reset)


@dataclass(frozen=True, slots=True)
class Lstm(RecurrentLayer):
    """An LSTM layer: `LstmScan` over x W + bias."""

    MNEMONIC: ClassVar[str] = "lstm"
    OPERANDS: ClassVar[tuple[str, ...]] = (*_GATED, "h0?", "c0?", "peepholes?", "lengths?")
    activations: tuple[Activation, ...] = (SIGMOID, TANH, TANH)
    clip: float = math.inf
    reverse: bool = False
    input_forget: bool = False

    @property
    def scan(self) -> OpKind:
        return LstmScan(self.activations, self.clip, self.reverse, self.input_forget)
