"""Hypothesis strategy of valid graphs over many op kinds, interpreted in milliseconds.

`graphs()` gives graphs, `random_inputs(graph, seed)` arrays to run them on. Constants are often the
neutral or odd elements (0, -0, 1, 2, 0.5) that algebraic laws wait for.
"""

import math
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.cumulative import Cumulative, CumulativeFunction
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import (
    Broadcast,
    Concat,
    Gather,
    Pad,
    PadMode,
    Reshape,
    Slice,
    Transpose,
)
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction, accepts
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.recurrent import Gru, Lstm, Rnn
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.ops.scatter import Scatter, ScatterFunction
from lepton_cc.ir.ops.topk import TopK
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from tests.ir.choices import Choices

DTYPES = (DType.F32, DType.F32, DType.F32, DType.F16, DType.F64, DType.I32, DType.I8, DType.I64)
_ODD_FLOATS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, math.inf)
_ODD_INTEGERS = (0, 1, -1, 2, 3, 7)
_MAX_ELEMENTS = 256
_UNARY = tuple(f for f in UnaryFunction if f is not UnaryFunction.GELU)
_BINARY = tuple(f for f in BinaryFunction if f is not BinaryFunction.POW)


def random_array(type_: TensorType, rng: np.random.Generator) -> Array:
    """Normal floats, integers of -4 to 4 (0 to 4 unsigned), fair bools."""
    if type_.dtype is DType.BOOL:
        return np.asarray(rng.integers(0, 2, type_.dims) == 1)
    if type_.dtype.is_float:
        return np.asarray(rng.normal(size=type_.dims)).astype(type_.dtype.numpy)
    low = 0 if type_.dtype.is_unsigned_integer else -4
    return np.asarray(rng.integers(low, 5, type_.dims)).astype(type_.dtype.numpy)


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """An array for each input of the graph, by name."""
    rng = np.random.default_rng(seed)
    return {value.name: random_array(value.type, rng) for value in graph.inputs}


class _Sketch(Choices):
    """A graph of any types."""

    def __init__(self, draw: st.DrawFn) -> None:
        super().__init__(draw, "random")

    def shape(self, min_rank: int = 0, max_rank: int = 4) -> tuple[int, ...]:
        rank = self.integer(min_rank, max_rank)
        return tuple(self.integer(1, 4) for _ in range(rank))

    def value(self, wanted: Callable[[TensorType], bool]) -> Value | None:
        fitting = [value for value in self.values if wanted(value.type)]
        if not fitting:
            return None
        # Chains are what laws merge, so that the latest value is the likeliest.
        return fitting[-1] if self.boolean() else self.one_of(fitting)

    def constant(self, type_: TensorType) -> Value:
        dtype = type_.dtype
        if self.boolean():
            odd = self.one_of(_ODD_FLOATS if dtype.is_float else _ODD_INTEGERS)
            return self.builder.constant(np.full(type_.dims, odd, dtype.numpy))
        rng = np.random.default_rng(self.integer(0, 1000))
        return self.builder.constant(random_array(type_, rng))

    def add(self, kind: OpKind, *operands: Value | None) -> None:
        node = f"{kind.mnemonic} '{len(self.values)}'"
        results = self.builder.add(kind, operands, Location((node,)))
        self.values += [r for r in results if r.type.num_elements <= _MAX_ELEMENTS]


def _is_float(type_: TensorType) -> bool:
    return type_.dtype in (DType.F32, DType.F64)


def _is_image(type_: TensorType) -> bool:
    return type_.rank == 4 and _is_float(type_) and type_.num_elements > 0


def _any(type_: TensorType) -> bool:
    return True


def _unary(sketch: _Sketch) -> None:
    x = sketch.value(_any)
    functions = [f for f in _UNARY if x is not None and accepts(f, x.type.dtype)]
    if functions:
        sketch.add(Unary(sketch.one_of(functions)), x)


def _binary(sketch: _Sketch) -> None:
    lhs = sketch.value(_any)
    if lhs is None:
        return
    function = sketch.one_of([f for f in _BINARY if accepts(f, lhs.type.dtype)])
    rhs = sketch.value(lambda t: t == lhs.type) if sketch.boolean() else None
    if rhs is None:
        kept = tuple(dim if sketch.boolean() else 1 for dim in lhs.type.dims)
        rhs = sketch.constant(TensorType(lhs.type.dtype, kept[sketch.integer(0, len(kept)) :]))
    operands = (rhs, lhs) if sketch.boolean() else (lhs, rhs)
    sketch.add(Binary(function), *operands)


def _clamp(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.dtype is not DType.BOOL)
    bounds = sketch.one_of(((0.0, math.inf), (0.0, 6.0), (-math.inf, 1.0), (-1.0, 1.0)))
    if x is not None:
        sketch.add(Clamp(*bounds), x)


def _cast(sketch: _Sketch) -> None:
    x = sketch.value(_any)
    if x is not None:
        sketch.add(Cast(sketch.one_of(DTYPES)), x)


def _select(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.dtype is not DType.BOOL)
    if x is None:
        return
    y = sketch.constant(x.type)
    if sketch.boolean():
        condition = sketch.builder.emit(Binary(BinaryFunction.LESS), x, y)
    else:
        condition = sketch.builder.constant(np.asarray(sketch.boolean()))
    sketch.add(Select(), condition, x, y)


def _reshape(sketch: _Sketch) -> None:
    x = sketch.value(_any)
    if x is None:
        return
    rest, shape = x.type.num_elements, []
    for _ in range(sketch.integer(0, 3)):
        divisors = [d for d in (1, 2, 3, 4) if rest % d == 0]
        shape.append(sketch.one_of(divisors))
        rest //= shape[-1]
    sketch.add(Reshape((*shape, rest)), x)


def _transpose(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0)
    if x is not None:
        sketch.add(Transpose(tuple(sketch.draw(st.permutations(range(x.type.rank))))), x)


def _broadcast(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank <= 3)
    if x is not None:
        leading = sketch.shape(0, 4 - x.type.rank)
        tail = tuple(sketch.integer(1, 3) if dim == 1 else dim for dim in x.type.dims)
        sketch.add(Broadcast((*leading, *tail)), x)


def _slice(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0)
    if x is None:
        return
    starts, sizes, steps = [], [], []
    for dim in x.type.dims:
        step = sketch.one_of((1, 1, 2, -1))
        start = sketch.integer(0, max(dim - 1, 0))
        reach = start + 1 if step < 0 else -(-(dim - start) // step)
        starts.append(start)
        sizes.append(sketch.integer(1, max(reach, 1)))
        steps.append(step)
    sketch.add(Slice(tuple(starts), tuple(sizes), tuple(steps)), x)


def _concat(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0)
    if x is None:
        return
    parts = [sketch.value(lambda t: t == x.type) for _ in range(sketch.integer(1, 3))]
    sketch.add(Concat(sketch.integer(0, x.type.rank - 1)), *parts)


def _pad(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0)
    if x is None:
        return
    low = tuple(sketch.integer(0, 1) for _ in x.type.dims)
    high = tuple(sketch.integer(0, 1) for _ in x.type.dims)
    if all(dim > 1 for dim in x.type.dims) and sketch.boolean():
        sketch.add(Pad(low, high, sketch.one_of(tuple(PadMode))), x)
    else:
        fill = sketch.constant(TensorType(x.type.dtype, ())) if sketch.boolean() else None
        sketch.add(Pad(low, high), x, fill)


def _gather(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0)
    if x is not None:
        rng = np.random.default_rng(sketch.integer(0, 100))
        indices = rng.integers(-1, 2, sketch.shape(0, 2))
        axis = sketch.integer(0, x.type.rank - 1)
        sketch.add(Gather(axis), x, sketch.builder.constant(indices))


def _reduce(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and _is_float(t))
    if x is None:
        return
    axes = tuple(axis for axis in range(x.type.rank) if sketch.boolean())
    function = sketch.one_of(tuple(ReduceFunction))
    sketch.add(Reduce(function, axes or (0,), sketch.boolean()), x)


def _arg_reduce(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0)
    if x is not None:
        function, axis = sketch.one_of(tuple(ArgFunction)), sketch.integer(0, x.type.rank - 1)
        sketch.add(ArgReduce(function, axis, sketch.boolean(), sketch.boolean()), x)


def _softmax(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and _is_float(t))
    if x is not None:
        sketch.add(Softmax(sketch.integer(0, x.type.rank - 1), sketch.boolean()), x)


def _window(sketch: _Sketch, dims: tuple[int, ...], *, padded: bool = True) -> Window:
    low = tuple(sketch.integer(0, 1) * padded for _ in dims)
    size = tuple(sketch.integer(1, min(3, dim + pad)) for dim, pad in zip(dims, low, strict=True))
    strides = tuple(sketch.integer(1, 2) for _ in dims)
    return Window(size, strides, (1,) * len(dims), low, (0,) * len(dims))


def _conv(sketch: _Sketch) -> None:
    x = sketch.value(_is_image)
    if x is None:
        return
    channels = x.type.dims[-1]
    groups = sketch.one_of((1, channels))
    outputs = groups * sketch.integer(1, 2)
    window = _window(sketch, x.type.dims[1:-1])
    weights = TensorType(x.type.dtype, (*window.size, channels // groups, outputs))
    bias = sketch.constant(TensorType(x.type.dtype, (outputs,))) if sketch.boolean() else None
    sketch.add(Conv(window, groups), x, _filter(sketch, weights), bias)


def _filter(sketch: _Sketch, type_: TensorType) -> Value:
    rng = np.random.default_rng(sketch.integer(0, 100))
    return sketch.builder.constant(random_array(type_, rng))


def _conv_transpose(sketch: _Sketch) -> None:
    x = sketch.value(_is_image)
    if x is not None:
        window = _window(sketch, x.type.dims[1:-1], padded=False)
        weights = (*window.size, x.type.dims[-1], sketch.integer(1, 3))
        kind = ConvTranspose(window, (0,) * window.rank)
        sketch.add(kind, x, _filter(sketch, TensorType(x.type.dtype, weights)))


def _pool(sketch: _Sketch) -> None:
    x = sketch.value(_is_image)
    if x is not None:
        window = _window(sketch, x.type.dims[1:-1])
        sketch.add(MaxPool(window) if sketch.boolean() else AveragePool(window), x)


def _matmul(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank >= 2 and _is_float(t))
    if x is None:
        return
    columns = sketch.integer(1, 4)
    weights = TensorType(x.type.dtype, (x.type.dims[-1], columns))
    bias = sketch.constant(TensorType(x.type.dtype, (columns,))) if sketch.boolean() else None
    sketch.add(MatMul(), x, _filter(sketch, weights), bias)


def _normalization(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and _is_float(t))
    if x is None:
        return
    axis = sketch.integer(0, x.type.rank - 1)
    scale = sketch.constant(TensorType(x.type.dtype, x.type.shape[axis:]))
    if sketch.boolean():
        sketch.add(LayerNorm(axis), x, scale)
    else:
        sketch.add(RmsNorm(axis), x, scale)


def _topk(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and t.dtype is not DType.BOOL)
    if x is not None:
        axis = sketch.integer(0, x.type.rank - 1)
        k = sketch.integer(1, max(1, x.type.dims[axis]))
        if k <= x.type.dims[axis]:
            sketch.add(TopK(k, axis, sketch.boolean()), x)


def _cumulative(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and t.dtype is not DType.BOOL)
    if x is not None:
        function, axis = sketch.one_of(tuple(CumulativeFunction)), x.type.rank - 1
        sketch.add(Cumulative(function, axis, sketch.boolean(), sketch.boolean()), x)


def _quantize(sketch: _Sketch) -> None:
    """To integers, and back to floats by the same parameters."""
    x = sketch.value(_is_float)
    if x is None:
        return
    dtype = sketch.one_of((DType.I8, DType.U8, DType.I16, DType.I4))
    scale = sketch.builder.constant(np.asarray(sketch.one_of((0.5, 0.1, 0.03)), np.float32))
    zero = sketch.builder.constant(np.asarray(sketch.integer(0, 7)).astype(dtype.numpy))
    (y,) = sketch.builder.add(Quantize(dtype), (x, scale, zero))
    sketch.add(Dequantize(x.type.dtype), y, scale, zero)


def _resample(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and _is_float(t) and t.num_elements > 0)
    if x is None:
        return
    axis = sketch.integer(0, x.type.rank - 1)
    rng = np.random.default_rng(sketch.integer(0, 100))
    table = (sketch.integer(1, 5), 2)
    indices = rng.integers(0, x.type.dims[axis], table).astype(np.int32)
    weights = sketch.builder.constant(rng.random(table).astype(x.type.dtype.numpy))
    sketch.add(Resample(axis), x, sketch.builder.constant(indices), weights)


def _scatter(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank > 0 and t.dtype is not DType.BOOL)
    if x is not None:
        indices = np.random.default_rng(sketch.integer(0, 100)).integers(-1, 3, 2)
        updates = sketch.constant(TensorType(x.type.dtype, (2, *x.type.shape[1:])))
        kind = Scatter(sketch.one_of(tuple(ScatterFunction)))
        sketch.add(kind, x, sketch.builder.constant(indices), updates)


def _recurrent(sketch: _Sketch) -> None:
    x = sketch.value(lambda t: t.rank == 3 and t.dtype is DType.F32 and t.num_elements > 0)
    if x is None:
        return
    hidden = sketch.integer(1, 3)
    kind, gates = sketch.one_of(((Rnn(), 1), (Gru(), 3), (Lstm(), 4)))
    shapes = ((x.type.dims[-1], gates * hidden), (hidden, gates * hidden), (gates * hidden,))
    parameters = [_filter(sketch, TensorType(DType.F32, shape)) for shape in shapes]
    sketch.add(kind, x, *parameters)


_MAKERS: tuple[Callable[[_Sketch], None], ...] = (
    _unary,
    _binary,
    _binary,
    _clamp,
    _cast,
    _select,
    _reshape,
    _transpose,
    _broadcast,
    _slice,
    _concat,
    _pad,
    _gather,
    _reduce,
    _arg_reduce,
    _softmax,
    _conv,
    _conv_transpose,
    _pool,
    _matmul,
    _normalization,
    _topk,
    _cumulative,
    _quantize,
    _resample,
    _scatter,
    _recurrent,
)


@st.composite
def graphs(draw: st.DrawFn, max_ops: int = 12) -> Graph:
    """A valid graph of up to `max_ops` ops (constants not counted); most ops are read."""
    sketch = _Sketch(draw)
    image = TensorType(DType.F32, (1, 4, 4, sketch.integer(1, 3)))
    sketch.values.append(sketch.builder.input("image", image))
    for index in range(sketch.integer(0, 2)):
        type_ = TensorType(sketch.one_of(DTYPES), sketch.shape())
        sketch.values.append(sketch.builder.input(f"x{index}", type_))
    for _ in range(sketch.integer(max_ops // 2, max_ops)):
        sketch.one_of(_MAKERS)(sketch)
    outputs = sketch.values[-2:]
    return sketch.builder.finish(outputs, [f"out{index}" for index in range(len(outputs))])
