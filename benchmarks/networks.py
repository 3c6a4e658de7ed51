"""Benchmark networks with random weights, built node by node: sizes are real, weights are not."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# (expansion, channels, blocks, stride of the first): MobileNetV2, table 2 (arXiv 1801.04381).
_MOBILENET_V2_STAGES: Sequence[tuple[int, int, int, int]] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _Builder:
    """Collects nodes and initializers; activations are named by the node that makes them."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, shape: tuple[int, ...], scale: float) -> str:
        """A random constant."""
        name = f"w{len(self.weights)}"
        values: NDArray[np.float32] = self._random.standard_normal(shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array((values * scale).astype(np.float32), name))
        return name

    def constant(self, value: float) -> str:
        """A scalar constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))
        return name

    def node(self, op_type: str, inputs: Sequence[str], **attributes: int | list[int]) -> str:
        """A node with one output."""
        name = f"{op_type.lower()}{len(self.nodes)}"
        node = helper.make_node(op_type, inputs, [name], name)
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return name

    def conv(self, x: str, shape: tuple[int, int, int], stride: int = 1, groups: int = 1) -> str:
        """A convolution with bias, shape (input channels, output channels, kernel)."""
        channels, filters, size = shape
        fan_in = channels // groups * size * size
        weights = self.weight((filters, channels // groups, size, size), fan_in**-0.5)
        bias = self.weight((filters,), 0.1)
        return self.node(
            "Conv",
            [x, weights, bias],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=groups,
        )

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.node("Relu", [x])

    def classifier(
        self, name: str, x: str, channels: int, size: int, num_classes: int
    ) -> onnx.ModelProto:
        """The model that ends in a fully connected layer over `x` [1, channels]."""
        head = self.weight((num_classes, channels), channels**-0.5)
        self.node("Gemm", [x, head, self.weight((num_classes,), 0.1)], transB=1)
        self.nodes[-1].output[0] = "logits"
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, num_classes])],
            self.weights,
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, ir_version=8, opset_imports=opsets)

    def relu6(self, x: str) -> str:
        """min(max(x, 0), 6)."""
        return self.node("Clip", [x, self.constant(0.0), self.constant(6.0)])


def mobilenet_v2(size: int = 224, num_classes: int = 1000) -> onnx.ModelProto:
    """MobileNetV2 1.0, batch norm folded: input `image` [1, 3, size, size], output `logits`."""
    build = _Builder(seed=1)
    x = build.relu6(build.conv("image", (3, 32, 3), stride=2))
    channels = 32
    for expansion, filters, blocks, first_stride in _MOBILENET_V2_STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            hidden = channels * expansion
            y = x if expansion == 1 else build.relu6(build.conv(x, (channels, hidden, 1)))
            y = build.relu6(build.conv(y, (hidden, hidden, 3), stride, groups=hidden))
            y = build.conv(y, (hidden, filters, 1))
            x = build.node("Add", [x, y]) if stride == 1 and channels == filters else y
            channels = filters
    x = build.relu6(build.conv(x, (channels, 1280, 1)))
    x = build.node("Flatten", [build.node("GlobalAveragePool", [x])])
    return build.classifier("mobilenet_v2", x, 1280, size, num_classes)


# (channels of the 3x3 convolution, blocks, stride of the first): ResNet-50 (arXiv 1512.03385),
# with the stride in the 3x3 convolution as torchvision has it.
_RESNET50_STAGES: Sequence[tuple[int, int, int]] = (
    (64, 3, 1),
    (128, 4, 2),
    (256, 6, 2),
    (512, 3, 2),
)


def resnet50(size: int = 224, num_classes: int = 1000) -> onnx.ModelProto:
    """ResNet-50, batch norm folded: input `image` [1, 3, size, size], output `logits`."""
    build = _Builder(seed=2)
    x = build.relu(build.conv("image", (3, 64, 7), stride=2))
    x = build.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, first_stride in _RESNET50_STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            y = build.relu(build.conv(x, (channels, width, 1)))
            y = build.relu(build.conv(y, (width, width, 3), stride))
            y = build.conv(y, (width, 4 * width, 1))
            if block == 0:
                x = build.conv(x, (channels, 4 * width, 1), stride)
            x = build.relu(build.node("Add", [y, x]))
            channels = 4 * width
    x = build.node("Flatten", [build.node("GlobalAveragePool", [x])])
    return build.classifier("resnet50", x, channels, size, num_classes)
