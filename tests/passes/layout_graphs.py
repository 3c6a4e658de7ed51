"""Random graphs full of transposes: what the layout tests draw from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.cumulative import Cumulative, CumulativeFunction
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

_SHAPES = ((2, 3, 4), (1, 4, 3, 2), (2, 3, 2, 3), (1, 3, 1, 4))


@dataclass
class Maker:
    """Draws one op after the other and adds it to a graph."""

    draw: st.DrawFn
    builder: GraphBuilder
    values: list[Value]
    random: np.random.Generator

    def array(self, *shape: int) -> Array:
        return self.random.integers(-4, 5, shape).astype(np.float32) / 4

    def pick(self, rank: int = 1) -> Value:
        fit = [v for v in self.values if v.type.rank >= rank and 0 < v.type.num_elements < 400]
        # Long chains from the last value are where transposes travel far.
        recent = fit[-1:] if self.draw(st.integers(0, 3)) else fit
        return self.draw(st.sampled_from(recent or self.values[:1]))

    def axis(self, x: Value) -> int:
        return self.draw(st.integers(0, x.type.rank - 1))

    def transpose(self) -> Value:
        x = self.pick()
        order = tuple(self.draw(st.permutations(range(x.type.rank))))
        return self.builder.emit(Transpose(order), x)

    def unary(self) -> Value:
        kind = self.draw(st.sampled_from([Unary(UnaryFunction.ABS), Clamp(low=0.0, high=2.0)]))
        return self.builder.emit(kind, self.pick())

    def binary(self) -> Value:
        x = self.pick()
        same = [v for v in self.values if v.type == x.type]
        dims = x.type.dims
        rank = self.draw(st.integers(0, len(dims)))
        narrow = [1 if self.draw(st.booleans()) else d for d in dims[len(dims) - rank :]]
        choice = self.draw(st.integers(0, 2))
        if choice == 0:
            y = self.draw(st.sampled_from(same))
        elif choice == 1:
            y = self.builder.constant(self.array(*narrow))
        else:
            y = self.builder.emit(
                Reduce(ReduceFunction.MAX, tuple(range(1, len(dims))), keep_dims=True), x
            )
        function = self.draw(st.sampled_from([BinaryFunction.ADD, BinaryFunction.MIN]))
        pair = (x, y) if self.draw(st.booleans()) else (y, x)
        return self.builder.emit(Binary(function), *pair)

    def concat(self) -> Value:
        x = self.pick()
        same = [v for v in self.values if v.type == x.type]
        return self.builder.emit(Concat(self.axis(x)), x, self.draw(st.sampled_from(same)))

    def slice(self) -> Value:
        x = self.pick()
        starts, sizes, steps = [], [], []
        for dim in x.type.dims:
            start = self.draw(st.integers(0, dim - 1))
            size = self.draw(st.integers(1, dim - start))
            backward = self.draw(st.booleans())
            starts.append(start + size - 1 if backward else start)
            sizes.append(size)
            steps.append(-1 if backward else 1)
        return self.builder.emit(Slice(tuple(starts), tuple(sizes), tuple(steps)), x)

    def pad(self) -> Value:
        x = self.pick()
        amounts = st.lists(st.integers(0, 1), min_size=x.type.rank, max_size=x.type.rank)
        fill = self.builder.constant(self.array()) if self.draw(st.booleans()) else None
        return self.builder.emit(Pad(tuple(self.draw(amounts)), tuple(self.draw(amounts))), x, fill)

    def broadcast(self) -> Value:
        x = self.pick()
        wide = tuple(2 if dim == 1 else dim for dim in x.type.dims)
        return self.builder.emit(Broadcast((2, *wide) if x.type.rank < 4 else wide), x)

    def reduce(self) -> Value:
        x = self.pick()
        axes = tuple(sorted(self.draw(st.sets(st.integers(0, x.type.rank - 1), max_size=2))))
        return self.builder.emit(Reduce(ReduceFunction.SUM, axes, self.draw(st.booleans())), x)

    def arg_reduce(self) -> Value:
        x = self.pick()
        kind = ArgReduce(ArgFunction.ARGMAX, self.axis(x), keep_dims=self.draw(st.booleans()))
        return self.builder.emit(kind, x)

    def softmax(self) -> Value:
        x = self.pick()
        return self.builder.emit(Softmax(self.axis(x)), x)

    def resample(self) -> Value:
        x = self.pick()
        axis = self.axis(x)
        indices = self.random.integers(0, x.type.dims[axis], (3, 2)).astype(np.int32)
        taps = (self.builder.constant(indices), self.builder.constant(self.array(3, 2)))
        return self.builder.emit(Resample(axis), x, *taps)

    def cumulative(self) -> Value:
        x = self.pick()
        return self.builder.emit(Cumulative(CumulativeFunction.SUM, self.axis(x)), x)

    def norm(self) -> Value:
        x = self.pick()
        return self.builder.emit(RmsNorm(self.axis(x)), x)

    def quantize(self) -> Value:
        x = self.pick()
        axis = self.axis(x)
        channels = [1] * x.type.rank
        channels[axis] = x.type.dims[axis]
        channels = channels[self.draw(st.integers(0, axis)) :]
        scale = self.builder.constant(np.abs(self.array(*channels)) + np.float32(0.25))
        zero_point = self.builder.constant(self.random.integers(-3, 3, channels).astype(np.int8))
        quantized = self.builder.emit(Quantize(DType.I8), x, scale, zero_point)
        return self.builder.emit(Dequantize(), quantized, scale, zero_point)

    def gather(self) -> Value:
        x = self.pick()
        axis = self.axis(x)
        shape = self.draw(st.sampled_from([(), (2,), (2, 1)]))
        indices = self.random.integers(0, x.type.dims[axis], shape)
        return self.builder.emit(Gather(axis), x, self.builder.constant(indices))

    def reshape(self) -> Value:
        x = self.pick()
        dims = list(x.type.dims)
        for _ in range(self.draw(st.integers(1, 2))):
            at = self.axis(x) if len(dims) == x.type.rank else 0
            if at + 1 < len(dims) and self.draw(st.booleans()):
                dims[at : at + 2] = [dims[at] * dims[at + 1]]
            elif len(dims) < 5:
                split = 2 if dims and dims[at] % 2 == 0 else 1
                dims[at : at + 1] = [split, dims[at] // split] if dims else [1]
        return self.builder.emit(Reshape(tuple(dims)), x)

    def conv(self) -> Value:
        x = self.pick(3)
        spatial = x.type.rank - 2
        ones, zeros = (1,) * spatial, (0,) * spatial
        channels = x.type.dims[1]
        weights = self.builder.constant(self.array(*ones, channels, channels))
        inward = (0, *range(2, x.type.rank), 1)
        outward = (0, x.type.rank - 1, *range(1, x.type.rank - 1))
        last = self.builder.emit(Transpose(inward), x)
        window = Window(ones, ones, ones, zeros, zeros)
        return self.builder.emit(Transpose(outward), self.builder.emit(Conv(window), last, weights))

    def flatten_matmul(self) -> Value:
        x = self.pick(2)
        dims = x.type.dims
        rows = int(np.prod(dims[1:]))
        flat = self.builder.emit(Reshape((dims[0], rows)), x)
        if self.draw(st.booleans()):
            flat = self.builder.emit(Clamp(low=0.0), flat)
        return self.builder.emit(MatMul(), flat, self.builder.constant(self.array(rows, 3)))


@st.composite
def graphs_of_transposes(draw: st.DrawFn) -> tuple[Graph, dict[str, Array]]:
    """A graph of ops with layouts, most of them known to layout propagation, and its input."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    builder = GraphBuilder("random")
    shape = draw(st.sampled_from(_SHAPES))
    x = builder.input("x", TensorType(DType.F32, shape))
    maker = Maker(draw, builder, [x], random)
    makers: list[Callable[[], Value]] = [
        maker.transpose, maker.transpose, maker.unary, maker.binary, maker.binary, maker.concat,
        maker.slice, maker.pad, maker.broadcast, maker.reduce, maker.arg_reduce, maker.softmax,
        maker.gather, maker.reshape, maker.reshape, maker.conv, maker.conv, maker.flatten_matmul,
        maker.resample, maker.cumulative, maker.norm, maker.quantize,
    ]  # fmt: skip
    for _ in range(draw(st.integers(2, 14))):
        value = draw(st.sampled_from(makers))()
        if value.type.dtype is DType.F32:
            maker.values.append(value)
    outputs = list(dict.fromkeys([maker.values[-1], draw(st.sampled_from(maker.values))]))
    graph = builder.finish(outputs, [f"y{i}" for i in range(len(outputs))])
    return graph, {"x": maker.array(*shape)}
