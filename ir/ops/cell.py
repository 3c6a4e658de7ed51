"""Activations of recurrent cells: the functions that ONNX RNN, GRU and LSTM nodes may name."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_cc.ir.ops.numpy_math import sigmoid


class CellFunction(enum.Enum):
    """A function of one element x with parameters a (alpha) and b (beta)."""

    AFFINE = "affine"  # a x + b
    ELU = "elu"  # x if x >= 0 else a (exp(x) - 1)
    HARD_SIGMOID = "hard_sigmoid"  # min(max(a x + b, 0), 1)
    LEAKY_RELU = "leaky_relu"  # x if x >= 0 else a x
    RELU = "relu"  # max(x, 0)
    SCALED_TANH = "scaled_tanh"  # a tanh(b x)
    SIGMOID = "sigmoid"
    SOFTPLUS = "softplus"  # log(1 + exp(x))
    SOFTSIGN = "softsign"  # x / (1 + |x|)
    TANH = "tanh"
    THRESHOLDED_RELU = "thresholded_relu"  # x if x >= a else 0


@dataclass(frozen=True, slots=True)
class Activation:
    """A cell function with its parameters (ignored by the functions that have none)."""

    function: CellFunction
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """The function of each element, in x's dtype."""
        with np.errstate(all="ignore"):
            y = _NUMPY[self.function](x, self.alpha, self.beta)
        return np.asarray(y).astype(x.dtype)


SIGMOID = Activation(CellFunction.SIGMOID)
TANH = Activation(CellFunction.TANH)

_NUMPY: Mapping[
    CellFunction, Callable[[NDArray[np.floating], float, float], NDArray[np.floating]]
] = {
    CellFunction.AFFINE: lambda x, a, b: a * x + b,
    CellFunction.ELU: lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))),
    CellFunction.HARD_SIGMOID: lambda x, a, b: np.clip(a * x + b, 0, 1),
    CellFunction.LEAKY_RELU: lambda x, a, b: np.where(x >= 0, x, a * x),
    CellFunction.RELU: lambda x, a, b: np.maximum(x, 0),
    CellFunction.SCALED_TANH: lambda x, a, b: a * np.tanh(b * x),
    CellFunction.SIGMOID: lambda x, a, b: sigmoid(x).astype(x.dtype),
    CellFunction.SOFTPLUS: lambda x, a, b: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    CellFunction.SOFTSIGN: lambda x, a, b: x / (1 + np.abs(x)),
    CellFunction.TANH: lambda x, a, b: np.tanh(x),
    CellFunction.THRESHOLDED_RELU: lambda x, a, b: np.where(x >= a, x, 0),
}
