"""Small convolutional networks with random weights, and samples for them."""

import numpy as np

from lepton_cc.calibration.data import CalibrationData, calibration_data
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import AveragePool
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.types import TensorType

WIDE = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
POINT = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
_WHOLE = Window((6, 6), (1, 1), (1, 1), (0, 0), (0, 0))


class NetworkBuilder:
    """A graph builder that makes up weights."""

    def __init__(self, name: str, seed: int) -> None:
        self.build = GraphBuilder(name, [])
        self._random = np.random.default_rng(seed)

    def constant(self, dims: tuple[int, ...], name: str) -> Value:
        """Weights that keep the variance of what they are multiplied with."""
        depth = max(int(np.prod(dims[:-1])), 1)
        content = self._random.normal(size=dims) / np.sqrt(depth)
        return self.build.constant(content.astype(np.float32), name=name)

    def conv(self, x: Value, outputs: int, window: Window, name: str, groups: int = 1) -> Value:
        """A convolution with a bias."""
        channels = x.type.dims[-1] // groups
        weights = self.constant((*window.size, channels, outputs), f"{name}_w")
        bias = self.constant((outputs,), f"{name}_b")
        return self.build.emit(Conv(window, groups), x, weights, bias, name=name)

    def relu(self, x: Value, name: str) -> Value:
        """max(x, 0)."""
        return self.build.emit(Clamp(low=0.0), x, name=name)


def residual_network(seed: int = 0, inner_name: str = "wide") -> Graph:
    """Convolution, residual block with a depthwise and a pointwise one, pool and classifier."""
    net = NetworkBuilder("residual", seed)
    build = net.build
    x = build.input("x", TensorType(DType.F32, (1, 6, 6, 3)))
    stem = net.relu(net.conv(x, 8, WIDE, "stem"), "stem_relu")
    inner = net.relu(net.conv(stem, 8, WIDE, inner_name, groups=8), "wide_relu")
    inner = net.conv(inner, 8, POINT, "point")
    total = build.emit(Binary(BinaryFunction.ADD), stem, inner, name="total")
    rest = net.relu(total, "total_relu")
    pooled = build.emit(AveragePool(_WHOLE), rest, name="pooled")
    flat = build.emit(Reshape((1, 8)), pooled, name="flat")
    weights, bias = net.constant((8, 4), "head_w"), net.constant((4,), "head_b")
    logits = build.emit(MatMul(), flat, weights, bias, name="logits")
    return build.finish([logits], ["y"])


def samples_of(graph: Graph, count: int, seed: int = 1) -> CalibrationData:
    """Smooth random inputs: neighbours are correlated, as in pictures."""
    random = np.random.default_rng(seed)
    (port,) = graph.inputs
    noise = random.normal(size=(count, *port.type.dims)).astype(np.float32)
    for axis in range(2, noise.ndim):
        noise = noise + np.roll(noise, 1, axis)
    return calibration_data(graph, {port.name: noise})
