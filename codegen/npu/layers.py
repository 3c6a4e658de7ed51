"""Layers: what one packet (or one per tile) of the engine computes, on values of the graph.

`select` makes them from ops, `fuse` merges them, `schedule` cuts them into tiles and packets.
"""

import abc
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lepton_cc.codegen.npu.isa.packets import Elementwise, Pool
from lepton_cc.ir.graph import Location, Op, Value
from lepton_cc.ir.ops.integer import Range
from lepton_cc.ir.ops.movement import Gather, Pad
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class MapShape:
    """A value as rows, columns and channels."""

    height: int
    width: int
    channels: int

    @property
    def num_elements(self) -> int:
        """Elements, and bytes."""
        return self.height * self.width * self.channels


@lru_cache(maxsize=4096)
def map_shape(type_: TensorType) -> MapShape:
    """The map of a value: the last dimension is channels, the one before columns, the rest rows.

    [1, L, C], a sequence, has L rows, so that windows slide over rows.
    """
    dims = type_.dims
    if len(dims) == 3 and dims[0] == 1:
        return MapShape(dims[1], 1, dims[2])
    channels = dims[-1] if dims else 1
    width = dims[-2] if len(dims) > 1 else 1
    height = 1
    for dim in dims[:-2]:
        height *= dim
    return MapShape(height, width, channels)


@dataclass(frozen=True, slots=True)
class MapWindow:
    """Kernel, stride, dilation, padding and upsampling of rows and columns."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)  # before the first row, before the first column
    upsample: tuple[int, int] = (1, 1)

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns from the first tap to the last."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    @property
    def is_pointwise(self) -> bool:
        """Whether each output element reads the input element of its own place."""
        return self == MapWindow()


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights i8 [rows, columns, channels of a group, outputs], scales f32, biases i32 [outputs].

    Depthwise: [rows, columns, 1, channels].
    """

    values: Array
    scales: Array
    biases: Array

    @property
    def num_outputs(self) -> int:
        """Output channels."""
        return int(self.values.shape[-1])


@dataclass(frozen=True, slots=True)
class Residual:
    """A tensor that the epilogue adds: clamp(RNE(fma(a, A, fma(b, B, offset))))."""

    value: Value
    result_scale: float
    residual_scale: float
    offset: float
    low: int
    high: int
    first: bool  # the residual is a


@dataclass(frozen=True, slots=True, eq=False)
class DepthwiseStage:
    """The first stage of a separable layer: depthwise by the layer's window."""

    weights: Weights
    range: Range


@dataclass(frozen=True, slots=True, eq=False)
class Layer(abc.ABC):
    """Base: the ops that it stands for, and the value that it stores.

    `table` maps i8 to i8 bytes and is applied to the result.
    """

    ops: tuple[Op, ...]
    result: Value

    @property
    @abc.abstractmethod
    def inputs(self) -> tuple[Value, ...]:
        """The feature maps that it reads."""

    @property
    def location(self) -> Location:
        """The ONNX nodes."""
        return Location().merge(*(op.location for op in self.ops))

    @property
    def shape(self) -> MapShape:
        """The map of the result."""
        return map_shape(self.result.type)


@dataclass(frozen=True, slots=True, eq=False)
class ConvLayer(Layer):
    """Convolution, depthwise convolution, separable convolution or fully connected layer.

    pool: the result is the 2x2 maximum of what is computed.
    """

    x: Value
    weights: Weights
    window: MapWindow
    groups: int
    depthwise: bool
    input_zero_point: int
    range: Range
    residual: Residual | None = None
    table: Array | None = None
    pool: bool = False
    stage: DepthwiseStage | None = None

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The convolved map, then the residual."""
        return (self.x,) if self.residual is None else (self.x, self.residual.value)

    @property
    def num_weights(self) -> int:
        """Weights of all stages."""
        staged = 0 if self.stage is None else int(self.stage.weights.values.size)
        return staged + int(self.weights.values.size)

    @property
    def computed(self) -> MapShape:
        """The map before pooling."""
        shape = self.shape
        scale = 2 if self.pool else 1
        return MapShape(shape.height * scale, shape.width * scale, shape.channels)

    @property
    def input_shape(self) -> MapShape:
        """The map of x."""
        return map_shape(self.x.type)


@dataclass(frozen=True, slots=True, eq=False)
class MatMulLayer(Layer):
    """Product of two activations: lhs [batch, rows, depth] and rhs [batch, depth, columns]."""

    lhs: Value
    rhs: Value
    lhs_zero_point: int
    rhs_zero_point: int
    scale: float
    range: Range
    table: Array | None = None

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Both factors."""
        return self.lhs, self.rhs


@dataclass(frozen=True, slots=True, eq=False)
class ElementwiseLayer(Layer):
    """Sum, product, maximum or minimum of two maps; rhs may repeat along any dimension."""

    kind: Elementwise
    lhs: Value
    rhs: Value
    lhs_scale: float
    rhs_scale: float
    offset: float
    zero_points: tuple[int, int]
    low: int
    high: int
    table: Array | None = None

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Both operands."""
        return self.lhs, self.rhs


@dataclass(frozen=True, slots=True, eq=False)
class PoolLayer(Layer):
    """Maximum or scaled sum over windows."""

    kind: Pool
    x: Value
    window: MapWindow
    scale: float
    sum_zero_point: int
    range: Range
    table: Array | None = None

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The pooled map."""
        return (self.x,)


@dataclass(frozen=True, slots=True, eq=False)
class TableLayer(Layer):
    """A function of one element: entry x + 128, as bytes."""

    x: Value
    table: Array

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The argument."""
        return (self.x,)


@dataclass(frozen=True, slots=True, eq=False)
class MoveLayer(Layer):
    """A movement op (transpose, slice, concat, pad, reshape, gather): views or DMA.

    `fill` is of a pad; `indices` of a gather, each inside of the operand's axis.
    """

    fill: int = 0
    indices: tuple[int, ...] = ()

    @property
    def op(self) -> Op:
        """The op."""
        (op,) = self.ops
        return op

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What is moved; not the fill of a pad or the indices of a gather."""
        return self.op.inputs[:1] if isinstance(self.op.kind, Pad | Gather) else self.op.inputs


def bytes_of(array: Array) -> Array:
    """The bytes of 8-bit elements as i8."""
    return np.ascontiguousarray(array).reshape(-1).view(np.int8)
