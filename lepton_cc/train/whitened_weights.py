"""Weights in coordinates in which training is fast: what layers read is uncorrelated there.

Folded batch normalizations leave layers that read unscaled, correlated values with a mean: gradient
descent on their weights creeps. Coordinates V of a layer move its weights from where they stood, W
= W0 + T V, T as `WhitenedLayer` has it; any optimizer of PyTorch's steps V. Zeros stay zeros.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import prunable_layers
from lepton_cc.passes.quantize.layer_moments import MomentSums
from lepton_cc.passes.reconstruct.whiten import WhitenedLayer
from lepton_cc.train.graph_module import GraphModule

# Elements of a layer's covariance: others are trained as they are.
_MAX_MOMENTS = 1 << 21


class _Layer:
    """One layer: its parameters, where they stood, and its coordinates."""

    def __init__(
        self, whitened: WhitenedLayer, weights: nn.Parameter, bias: nn.Parameter | None
    ) -> None:
        self._whitened, self._weights, self._bias = whitened, weights, bias
        self._weights_before = weights.detach().numpy().copy()
        self._bias_before = None if bias is None else bias.detach().numpy().copy()
        zero = np.zeros_like(self._weights_before)
        shape = whitened.gradients(zero, None)[0].shape
        self.coordinates = [nn.Parameter(torch.zeros(shape))]
        if bias is not None:
            self.coordinates.append(nn.Parameter(torch.zeros_like(bias)))

    def pull(self) -> None:
        """Gives the coordinates the gradients of the parameters."""
        bias = None if self._bias is None else self._bias.grad.numpy()
        found = self._whitened.gradients(self._weights.grad.numpy(), bias)
        for coordinate, gradient in zip(self.coordinates, found, strict=False):
            coordinate.grad = torch.from_numpy(np.asarray(gradient, np.float32))

    def push(self) -> None:
        """Puts the parameters where the coordinates are."""
        values = [one.detach().numpy() for one in self.coordinates]
        step, shift = self._whitened.steps(values[0], values[1] if len(values) > 1 else None)
        self._set(self._weights, self._weights_before + step)
        if self._bias is not None and self._bias_before is not None:
            assert shift is not None
            self._set(self._bias, self._bias_before + shift)

    @staticmethod
    def _set(parameter: nn.Parameter, array: Array) -> None:
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(array.astype(np.float32)))


class WhitenedWeights:
    """All layers of a module whose weights are matrices that nothing else reads.

    Without samples none are: everything is among the `others`, which are stepped as they are.
    """

    def __init__(self, graph: Graph, module: GraphModule, samples: Sequence[torch.Tensor]) -> None:
        layers = [one for one in prunable_layers(graph) if _num_moments(one.op) <= _MAX_MOMENTS]
        layers = layers if samples else []
        read = [value for one in layers for value in (one.op.inputs[0], one.op.result)]
        with torch.no_grad():
            values = [one.numpy() for one in module.evaluate(samples, read)] if samples else []
        self._layers = []
        whitened: set[int] = set()
        for number, one in enumerate(layers):
            x, y = values[2 * number : 2 * number + 2]
            weights = module.parameter(one.op.inputs[1])
            bias = None if one.bias is None else module.parameter(one.op.inputs[2])
            if weights is None:
                continue
            self._layers.append(_Layer(_whitened(one.op, one.weights, x, y), weights, bias))
            whitened.update(id(own) for own in (weights, bias) if own is not None)
        self.others = [one for one in module.trained.parameters() if id(one) not in whitened]

    def coordinates(self) -> list[nn.Parameter]:
        """What is stepped in place of weights and biases."""
        return [one for layer in self._layers for one in layer.coordinates]

    def pull(self) -> None:
        """Gives all coordinates their gradients."""
        for layer in self._layers:
            layer.pull()

    def push(self) -> None:
        """Puts all weights and biases where their coordinates are."""
        for layer in self._layers:
            layer.push()


def _num_moments(op: Op) -> int:
    depth = int(np.prod(op.inputs[1].type.dims[:-1]))
    return depth * depth


def _whitened(op: Op, weights: Array, x: Array, y: Array) -> WhitenedLayer:
    sums = MomentSums(op, len(x))
    for number in range(len(x)):
        one = x[number : number + 1]
        sums.observe(one, one)
    deviations = y.reshape(-1, y.shape[-1]).astype(np.float64).std(axis=0)
    return WhitenedLayer(op, weights, sums.moments(), deviations)
