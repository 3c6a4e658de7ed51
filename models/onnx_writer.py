"""Writes a trained network as ONNX by hand: one node a layer, readable names, batch 1."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from models.networks import IMAGE_SIDE, NUM_CLASSES, Residual, RowsAsSteps

OPSET = 17
IR_VERSION = 8


@dataclass(slots=True)
class GraphWriter:
    """Collects nodes and weights; each `_layer` method returns the name of its result."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def module(self, layer: nn.Module, x: str) -> str:
        """Write a layer and all within it.

        Raises:
            TypeError: the layer is of a kind that no network here uses.
        """
        match layer:
            case nn.Sequential():
                for inner in layer:
                    x = self.module(inner, x)
                return x
            case Residual():
                total = self._node("Add", [x, self.module(layer.body, x)])
                return self._node("Relu", [total])
            case nn.Conv2d():
                return self._conv(layer, x)
            case nn.BatchNorm2d():
                return self._batch_norm(layer, x)
            case nn.Linear():
                return self._gemm(layer, x)
            case RowsAsSteps():
                return self._recurrent(layer.cell, x)
            case _:
                return self._stateless(layer, x)

    def softmax(self, x: str) -> str:
        """Write a softmax over the classes."""
        return self._node("Softmax", [x], axis=-1)

    def _stateless(self, layer: nn.Module, x: str) -> str:
        match layer:
            case nn.ReLU():
                return self._node("Relu", [x])
            case nn.MaxPool2d(kernel_size=side):
                return self._node("MaxPool", [x], kernel_shape=[side] * 2, strides=[side] * 2)
            case nn.AdaptiveAvgPool2d():
                return self._node("GlobalAveragePool", [x])
            case nn.Flatten():
                return self._node("Flatten", [x], axis=1)
        raise TypeError(f"no ONNX form is known for {type(layer).__name__}")

    def _conv(self, layer: nn.Conv2d, x: str) -> str:
        name = self._name("Conv")
        weight = self._weight(f"{name}.weight", layer.weight)
        return self._node(
            "Conv",
            [x, weight],
            name=name,
            kernel_shape=list(layer.kernel_size),
            pads=list(layer.padding) * 2,
            strides=list(layer.stride),
            group=layer.groups,
        )

    def _batch_norm(self, layer: nn.BatchNorm2d, x: str) -> str:
        name = self._name("BatchNormalization")
        parameters = (
            ("scale", layer.weight),
            ("bias", layer.bias),
            ("mean", layer.running_mean),
            ("var", layer.running_var),
        )
        weights = [self._weight(f"{name}.{key}", value) for key, value in parameters]
        return self._node("BatchNormalization", [x, *weights], name=name, epsilon=layer.eps)

    def _gemm(self, layer: nn.Linear, x: str) -> str:
        name = self._name("Gemm")
        weight = self._weight(f"{name}.weight", layer.weight)
        bias = self._weight(f"{name}.bias", layer.bias)
        return self._node("Gemm", [x, weight, bias], name=name, transB=1)

    def _recurrent(self, cell: nn.Module, x: str) -> str:
        """Rows to steps `[8, 1, 8]`, the recurrent node, and its last state as `[1, hidden]`."""
        is_gru = isinstance(cell, nn.GRU)
        op_type = "GRU" if is_gru else "LSTM"
        # PyTorch stacks its gates as r z n and i f g o; ONNX wants z r h and i o f c.
        order = (1, 0, 2) if is_gru else (0, 3, 1, 2)
        name = self._name(op_type)
        steps_shape = self._weight(f"{name}.steps_shape", np.array([IMAGE_SIDE, 1, IMAGE_SIDE]))
        steps = self._node("Reshape", [x, steps_shape])
        w = self._weight(f"{name}.W", _gates(cell.weight_ih_l0, order)[None])
        r = self._weight(f"{name}.R", _gates(cell.weight_hh_l0, order)[None])
        biases = [_gates(cell.bias_ih_l0, order), _gates(cell.bias_hh_l0, order)]
        b = self._weight(f"{name}.B", np.concatenate(biases)[None])
        last = f"{name}.last_state"
        # PyTorch applies the reset gate after the recurrent product and its bias.
        extra: dict[str, Any] = {"linear_before_reset": 1} if is_gru else {}
        self.nodes.append(
            helper.make_node(
                op_type, [steps, w, r, b], ["", last], name, hidden_size=cell.hidden_size, **extra
            )
        )
        state_shape = self._weight(f"{name}.state_shape", np.array([1, cell.hidden_size]))
        return self._node("Reshape", [last, state_shape])

    def _name(self, op_type: str) -> str:
        self.counts[op_type] = self.counts.get(op_type, 0) + 1
        return f"{op_type.lower()}_{self.counts[op_type]}"

    def _weight(self, name: str, value: torch.Tensor | NDArray[np.generic]) -> str:
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _node(self, op_type: str, inputs: list[str], *, name: str = "", **attributes: Any) -> str:
        name = name or self._name(op_type)
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}.out"], name, **attributes))
        return f"{name}.out"


def _gates(stacked: torch.Tensor, order: tuple[int, ...]) -> NDArray[np.float32]:
    blocks = np.split(stacked.detach().numpy(), len(order))
    return np.concatenate([blocks[gate] for gate in order])


def to_onnx(layer: nn.Module, name: str, *, softmax: bool) -> onnx.ModelProto:
    """A checked model: `image` float32 `[1, 1, 8, 8]` to `logits` or `probabilities` `[1, 10]`.

    Raises:
        TypeError: a layer has no ONNX form here.
    """
    writer = GraphWriter()
    result = writer.module(layer, "image")
    output = "probabilities" if softmax else "logits"
    if softmax:
        writer.softmax(result)
    writer.nodes[-1].output[0] = output
    image = helper.make_tensor_value_info(
        "image", TensorProto.FLOAT, [1, 1, IMAGE_SIDE, IMAGE_SIDE]
    )
    classes = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, NUM_CLASSES])
    graph = helper.make_graph(writer.nodes, name, [image], [classes], writer.weights)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lepton-cc models/train_digits.py",
        doc_string="Input: an 8x8 grey image, 0 paper, 1 ink. Output: one value a digit, 0 to 9.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
