"""Small quantized networks for the tests of the engine's code generator.

`Network` makes ops with random weights, layer by layer; `random_network(seed)` makes a whole graph
of what the engine executes: odd sizes, strides, dilations, residuals, concats, pools, views.
"""

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Range, Requantize, Table
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Gather, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Tensor
from lepton_cc.ir.types import TensorType

Pair = tuple[int, int]
WHOLE = Range.whole(DType.I8, 0)


class Network:
    """A graph in the making; every method adds a layer and gives its i8 result."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = GraphBuilder("network")
        self._count = 0
        self._points: dict[Value, int] = {}  # zero points of results

    def input(self, *dims: int) -> Value:
        """An i8 input."""
        return self.builder.input(self.builder.fresh_name("x"), TensorType(DType.I8, dims))

    def op(self, kind: OpKind, *operands: Value | None) -> Value:
        """Any op, at a location of its own."""
        self._count += 1
        location = Location((f"{kind.mnemonic} '{self._count}'",))
        return self.builder.emit(kind, *operands, location=location)

    def conv(
        self,
        x: Value,
        outputs: int,
        kernel: tuple[int, ...] = (3, 3),
        *,
        stride: int = 1,
        dilation: int = 1,
        pads: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
        groups: int = 1,
        result: Range = WHOLE,
        magnitude: int = 127,
    ) -> Value:
        """Convolution, padded so that stride 1 keeps the size unless `pads` (low, high) says else.

        Weights are below `magnitude`; a small one makes them compressible.
        """
        spans = [(k - 1) * dilation for k in kernel]
        low, high = pads or (tuple(s // 2 for s in spans), tuple(s - s // 2 for s in spans))
        rank = len(kernel)
        window = Window(kernel, (stride,) * rank, (dilation,) * rank, low, high)
        inner = x.type.dims[-1] // groups
        kind = Conv(window, groups, self._points.get(x, self._point()))
        total = self.op(
            kind, x, self._weights((*kernel, inner, outputs), magnitude), self._bias(outputs)
        )
        return self.requantized(total, int(np.prod(kernel)) * inner, magnitude, result)

    def depthwise(self, x: Value, kernel: tuple[int, ...] = (3, 3), *, stride: int = 1) -> Value:
        """Convolution of each channel by itself."""
        channels = x.type.dims[-1]
        return self.conv(x, channels, kernel, stride=stride, groups=channels)

    def conv_transpose(self, x: Value, outputs: int, size: int = 3, stride: int = 2) -> Value:
        """Transposed convolution with one row and column cut at the start."""
        window = Window((size, size), (stride, stride), (1, 1), (1, 1), (0, 0))
        weights = self._weights((size, size, x.type.dims[-1], outputs), 127)
        kind = ConvTranspose(window, (0, 0), 1, self._points.get(x, self._point()))
        total = self.op(kind, x, weights, self._bias(outputs))
        return self.requantized(total, size * size * x.type.dims[-1] // stride**2 + 1, 127, WHOLE)

    def dense(self, x: Value, outputs: int) -> Value:
        """Fully connected over the last dimension."""
        depth = x.type.dims[-1]
        kind = MatMul(self._points.get(x, self._point()))
        total = self.op(kind, x, self._weights((depth, outputs), 127), self._bias(outputs))
        return self.requantized(total, depth, 127, WHOLE)

    def product(self, lhs: Value, rhs: Value) -> Value:
        """Product of two activations."""
        total = self.op(MatMul(self._point(), self._point()), lhs, rhs)
        return self.requantized(total, lhs.type.dims[-1], 127, WHOLE, channels=False)

    def add(self, lhs: Value, rhs: Value) -> Value:
        """Quantized sum."""
        scales = [(float(np.float32(self.rng.uniform(0.01, 0.1))), self._point()) for _ in "ab"]
        kind = QuantizedAdd.of(scales[0], scales[1], 0.1, Range.whole(DType.I8, self._point()))
        return self.op(kind, lhs, rhs)

    def mul(self, lhs: Value, rhs: Value) -> Value:
        """Quantized product, element by element."""
        scale = float(np.float32(self.rng.uniform(0.002, 0.02)))
        return self.op(QuantizedMul(self._point(), self._point(), scale, WHOLE), lhs, rhs)

    def maximum(self, lhs: Value, rhs: Value) -> Value:
        """Greater of two elements."""
        return self.op(Binary(BinaryFunction.MAX), lhs, rhs)

    def table(self, x: Value) -> Value:
        """Any function of one element."""
        return self.op(Table(Tensor(self.rng.integers(-128, 128, 256).astype(np.int8))), x)

    def max_pool(self, x: Value, size: int = 2, stride: int = 2, pad: int = 0) -> Value:
        """Maximum over square windows."""
        two = ((size, size), (stride, stride), (1, 1), (pad, pad), (pad, pad))
        return self.op(MaxPool(Window(*two)), x)

    def mean(self, x: Value) -> Value:
        """Global average pool."""
        count = x.type.dims[1] * x.type.dims[2]
        total = self.op(Reduce(ReduceFunction.SUM, (1, 2)), self.op(Cast(DType.I32), x))
        return self.requantized(total, 1, count, WHOLE, channels=False)

    def concat(self, axis: int, *parts: Value) -> Value:
        """Parts behind each other."""
        return self.op(Concat(axis), *parts)

    def reshape(self, x: Value, *dims: int) -> Value:
        """Other dimensions."""
        return self.op(Reshape(dims), x)

    def transpose(self, x: Value, *order: int) -> Value:
        """Dimensions in another order."""
        return self.op(Transpose(order), x)

    def slice(
        self, x: Value, starts: tuple[int, ...], sizes: tuple[int, ...], steps: tuple[int, ...] = ()
    ) -> Value:
        """A part of a value."""
        steps = steps or (1,) * len(starts)
        return self.op(Slice(starts, sizes, steps), x)

    def pad(self, x: Value, low: tuple[int, ...], high: tuple[int, ...]) -> Value:
        """Rows, columns or channels of one constant around a value."""
        fill = self.builder.constant(np.asarray(self._point(), np.int8), name="fill")
        return self.op(Pad(low, high), x, fill)

    def constant(self, *dims: int) -> Value:
        """A random i8 map that nothing computes."""
        array = self.rng.integers(-128, 128, dims).astype(np.int8)
        return self.builder.constant(array, name="map")

    def gather(self, x: Value, axis: int, *indices: int) -> Value:
        """Elements of an axis by their numbers."""
        numbers = self.builder.constant(np.asarray(indices, np.int32), name="indices")
        return self.op(Gather(axis), x, numbers)

    def requantized(
        self, total: Value, taps: int, magnitude: int, range_: Range, *, channels: bool = True
    ) -> Value:
        """Sums of `taps` random products back to about the whole range of i8."""
        spread = 75.0 * 0.6 * magnitude * taps**0.5
        size = total.type.dims[-1] if channels and self.rng.random() < 0.7 else 1
        scale = (self.rng.uniform(20, 100, size) / spread).astype(np.float32)
        operand = self.builder.constant(scale if size > 1 else scale.reshape(()), name="scale")
        result = self.op(Requantize(range_, 0), total, operand)
        self._points[result] = range_.zero_point
        return result

    def finish(self, *outputs: Value) -> Graph:
        """The graph."""
        return self.builder.finish(outputs, [f"y{i}" for i in range(len(outputs))])

    def _weights(self, shape: tuple[int, ...], magnitude: int) -> Value:
        array = self.rng.integers(-magnitude, magnitude + 1, shape).astype(np.int8)
        return self.builder.constant(array, name="w")

    def _bias(self, outputs: int) -> Value | None:
        if self.rng.random() < 0.3:
            return None
        return self.builder.constant(
            self.rng.integers(-3000, 3000, outputs).astype(np.int32), name="b"
        )

    def _point(self) -> int:
        return int(self.rng.integers(-128, 128))
