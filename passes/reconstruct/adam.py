"""Adam in the coordinates of whitened layers: steps of weights and biases from their gradients."""

from collections.abc import Mapping

import numpy as np

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.reconstruct.whiten import WhitenedLayer

_FIRST_MOMENT, _SECOND_MOMENT, _EPSILON = 0.9, 0.999, 1e-8


class WhitenedAdam:
    """Running moments of gradients and the steps that they lead to (Kingma and Ba, Adam, 2015)."""

    def __init__(self, layers: Mapping[Value, Op], whitened: Mapping[Value, WhitenedLayer]) -> None:
        self._layers, self._whitened = layers, whitened
        self._count = 0
        self._means: dict[Value, Array] = {}
        self._squares: dict[Value, Array] = {}

    def move(
        self, constants: dict[Value, Array], gradients: Mapping[Value, Array], rate: float
    ) -> None:
        """One step of all layers' weights and biases, which are the keys of `gradients`."""
        self._count += 1
        for weights, op in self._layers.items():
            bias = op.inputs[2] if len(op.inputs) > 2 and op.inputs[2] in gradients else None
            layer = self._whitened[weights]
            own, shift = layer.gradients(gradients[weights], gradients[bias] if bias else None)
            moved = self._step(weights, own, rate)
            shifted = self._step(bias, shift, rate) if bias and shift is not None else None
            step, bias_step = layer.steps(moved, shifted)
            constants[weights] = constants[weights] + step
            if bias is not None and bias_step is not None:
                constants[bias] = constants[bias] + bias_step

    def _step(self, value: Value, gradient: Array, rate: float) -> Array:
        """What to add to one array."""
        mean = self._means.setdefault(value, np.zeros_like(gradient))
        square = self._squares.setdefault(value, np.zeros_like(gradient))
        mean += (1 - _FIRST_MOMENT) * (gradient - mean)
        square += (1 - _SECOND_MOMENT) * (gradient * gradient - square)
        spread = np.sqrt(square / (1 - _SECOND_MOMENT**self._count)) + _EPSILON
        scale = np.float32(-rate / (1 - _FIRST_MOMENT**self._count))
        return np.asarray(scale * mean / spread)
