"""Plants one fault in a quantized graph, or in the float model that is to be quantized."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from lepton_cc.attribution.layers import quantized_layers
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.tensor import Array, Tensor

FACTOR = 8
OUTLIER = 64
_MOST_STEPS = 2.0**30


@dataclass(frozen=True, slots=True)
class Planted:
    """A graph with a fault, and the layer that has it."""

    graph: Graph
    culprit: str


def _with_constants(graph: Graph, changes: dict[Value, Array]) -> Graph:
    ops = [
        replace(op, kind=Constant(Tensor(changes[op.result].astype(op.result.type.dtype.numpy))))
        if len(op.results) == 1 and op.result in changes
        else op
        for op in graph.ops
    ]
    return graph.with_ops(tuple(ops))


def _array(graph: Graph, value: Value) -> Array:
    kind = graph.producers()[value].kind
    assert isinstance(kind, Constant)
    return kind.value.array


def _dequantize(graph: Graph, op: Op, number: int) -> Op:
    value = op.operands[number]
    assert value is not None
    found = graph.producers()[value]
    assert isinstance(found.kind, Dequantize)
    return found


def large_result_scale(graph: Graph, choice: int) -> Planted:
    """The scale of a layer's result times 8."""
    layers = [layer for layer in quantized_layers(graph) if layer.pairs and layer.constants]
    layer = layers[choice % len(layers)]
    scale = layer.pairs[0].quantize.inputs[1]
    return Planted(_with_constants(graph, {scale: _array(graph, scale) * FACTOR}), layer.name)


def large_weight_scale(graph: Graph, choice: int) -> Planted:
    """The scales of a layer's weights times 8, the integers divided by it."""
    layers = [layer for layer in quantized_layers(graph) if 1 in layer.constants]
    layer = layers[choice % len(layers)]
    assert layer.anchor is not None
    integers, scale = _dequantize(graph, layer.anchor, 1).inputs[:2]
    changes = {
        integers: np.rint(_array(graph, integers) / FACTOR),
        scale: _array(graph, scale) * FACTOR,
    }
    return Planted(_with_constants(graph, changes), layer.name)


def shifted_bias(graph: Graph, choice: int, sample: dict[str, Array]) -> Planted:
    """A third of the result's RMS added to half of a layer's biases."""
    layers = [layer for layer in quantized_layers(graph) if 2 in layer.constants]
    layer = layers[choice % len(layers)]
    assert layer.anchor is not None
    seen: dict[str, Array] = {}
    interpret(graph, sample, lambda value, array: seen.update({value.name: array}))
    result = seen[layer.anchor.results[0].name].astype(np.float64)
    integers, scale = _dequantize(graph, layer.anchor, 2).inputs[:2]
    steps = np.rint(np.sqrt(np.mean(result**2)) / 3 / _array(graph, scale))
    # Scales of channels that are always zero are next to nothing.
    steps = np.clip(steps, -_MOST_STEPS, _MOST_STEPS)
    return Planted(_with_constants(graph, {integers: _array(graph, integers) + steps}), layer.name)


def _is_read_once(graph: onnx.GraphProto, name: str) -> bool:
    """True if no shortcut carries a tensor past the next convolution."""
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type == "Conv":
        return len(readers) == 1
    return _is_read_once(graph, readers[0].output[0])


def outlier_channel(path: Path, choice: int, seed: int) -> tuple[onnx.ModelProto, str]:
    """The float model with a channel 64 times as large, which no later layer reads."""
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    norms = {
        node.input[0]: node for node in model.graph.node if node.op_type == "BatchNormalization"
    }
    pairs = [
        pair
        for pair in itertools.pairwise(convolutions)
        if pair[0].output[0] in norms and _is_read_once(model.graph, pair[0].output[0])
    ]
    this, following = pairs[choice % len(pairs)]
    norm = norms[this.output[0]]
    scale, bias = (numpy_helper.to_array(tensors[name]).copy() for name in norm.input[1:3])
    weights = numpy_helper.to_array(tensors[following.input[1]]).copy()
    # A channel that is alive: the relu behind must let it through.
    channel = int(np.random.default_rng(seed).integers(scale.size))
    scale[channel] = OUTLIER * max(float(np.abs(scale).max()), 0.1)
    bias[channel] = OUTLIER * max(float(np.abs(bias).max()), 0.1)
    is_depthwise = weights.shape[1] == 1 and weights.shape[0] == scale.size
    weights[(channel,) if is_depthwise else (slice(None), channel)] = 0
    for name, array in zip(
        (*norm.input[1:3], following.input[1]), (scale, bias, weights), strict=True
    ):
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    return model, this.name
