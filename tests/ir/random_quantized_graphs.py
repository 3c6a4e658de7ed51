"""Hypothesis strategy of graphs over integer ops, with random scales, zero points and bounds.

`quantized_graphs()` gives graphs from 8-bit (or, quantized first, float) inputs; whatever they
compute is defined to the bit, on every target. `random_bytes(graph, seed)` gives inputs.
"""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph, Location, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.cell import SIGMOID, TANH, Activation, CellFunction
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp
from lepton_cc.ir.ops.fixed_point import Curve
from lepton_cc.ir.ops.integer import (
    QuantizedAdd,
    QuantizedMul,
    QuantizedSoftmax,
    Range,
    Requantize,
    Table,
)
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.integer_scan import (
    GATE_FRACTION,
    GATE_LIMIT,
    Cell,
    QuantizedGruScan,
    QuantizedLstmScan,
)
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.wide_functions import InterpolatedTable, WideSoftmax
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.accumulator_bound import largest_magnitude
from lepton_cc.passes.quantize.norms import precision
from lepton_cc.passes.quantize.recurrent import curve_of
from lepton_cc.passes.quantize.softmax import exponentials
from lepton_cc.passes.quantize.wide_functions import exponential_tables
from tests.ir.choices import Choices

_MAX_ELEMENTS = 2048


def random_bytes(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Integers of the whole range of the type, or normal floats, for each input."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for value in graph.inputs:
        if value.type.dtype.is_float:
            array = rng.normal(size=value.type.dims) * 3
        else:
            low, high = integer_bounds(value.type.dtype)
            array = rng.integers(low, high, value.type.dims, endpoint=True).astype(np.float64)
        arrays[value.name] = np.asarray(array.astype(value.type.dtype.numpy))
    return arrays


class _Sketch(Choices):
    """A graph whose values are i8."""

    def __init__(self, draw: st.DrawFn) -> None:
        super().__init__(draw, "quantized")
        self.rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))

    def value(self, rank: int | None = None) -> Value:
        fitting = [v for v in self.values if rank is None or v.type.rank == rank]
        return fitting[-1] if self.boolean() else self.one_of(fitting)

    def scale(self, low: float, high: float) -> float:
        """Log-uniform in binary32; often a power of two, where ties abound."""
        exponent = self.rng.uniform(np.log2(low), np.log2(high))
        return float(np.float32(2.0 ** (round(exponent) if self.boolean() else exponent)))

    def zero_point(self) -> int:
        return self.one_of((0, -128, 127, self.integer(-128, 127)))

    def range(self, dtype: DType = DType.I8) -> Range:
        low, high = integer_bounds(dtype)
        whole = Range.whole(dtype, self.zero_point() - (0 if dtype is DType.I8 else -128))
        if self.boolean():
            return whole
        first, second = sorted((self.integer(low, high), self.integer(low, high)))
        return Range(dtype, whole.zero_point, first, second)

    def weights(self, *shape: int) -> Value:
        array = self.rng.integers(-128, 128, shape).astype(np.int8)
        return self.builder.constant(array, name="w")

    def add(self, kind: OpKind, *operands: Value | None) -> Value:
        location = Location((f"{kind.mnemonic} '{len(self.values)}'",))
        return self.builder.emit(kind, *operands, location=location)

    def keep(self, value: Value) -> None:
        if 0 < value.type.num_elements <= _MAX_ELEMENTS:
            self.values.append(value)

    def requantized(self, total: Value, spread: float) -> None:
        """An accumulator of about `spread` scaled back; a scale for each channel or one for all."""
        channels = total.type.dims[-1] if self.boolean() else 1
        scales = [self.scale(10 / spread, 100 / spread) for _ in range(channels)]
        array = np.array(scales, np.float32).reshape(() if channels == 1 else -1)
        kind = Requantize(self.range(), self.one_of((0, self.integer(-500, 500))))
        self.keep(self.add(kind, total, self.builder.constant(array, name="scale")))


def _conv(sketch: _Sketch) -> None:
    x = sketch.value(4)
    *_, height, width, channels = x.type.dims
    depthwise = sketch.boolean()
    outputs = channels if depthwise else sketch.integer(1, 9)
    size = (sketch.integer(1, min(3, height)), sketch.integer(1, min(3, width)))
    pads = [sketch.integer(0, 1) for _ in range(4)]
    stride = (sketch.integer(1, 2),) * 2
    window = Window(size, stride, (1, 1), (pads[0], pads[1]), (pads[2], pads[3]))
    inner = 1 if depthwise else channels
    bias = None
    if sketch.boolean():
        array = sketch.rng.integers(-20000, 20000, outputs).astype(np.int32)
        bias = sketch.builder.constant(array, name="bias")
    kind = Conv(window, channels if depthwise else 1, sketch.zero_point())
    total = sketch.add(kind, x, sketch.weights(*size, inner, outputs), bias)
    sketch.requantized(total, 5000.0 * (size[0] * size[1] * inner) ** 0.5)


def _matmul(sketch: _Sketch) -> None:
    x = sketch.value()
    flat = x if x.type.rank == 2 else sketch.add(Reshape((x.type.dims[0], _rest(x))), x)
    depth = flat.type.dims[-1]
    if sketch.boolean():
        kind = MatMul(sketch.zero_point())
        total = sketch.add(kind, flat, sketch.weights(depth, sketch.integer(1, 17)))
    else:
        turned = sketch.add(Transpose((1, 0)), flat)
        total = sketch.add(MatMul(sketch.zero_point(), sketch.zero_point()), flat, turned)
    sketch.requantized(total, 5000.0 * depth**0.5)


def _rest(x: Value) -> int:
    return x.type.num_elements // x.type.dims[0]


def _sum(sketch: _Sketch) -> None:
    lhs = sketch.value()
    rhs = sketch.one_of([v for v in sketch.values if v.type.shape == lhs.type.shape])
    scales = [(sketch.scale(0.01, 0.1), sketch.zero_point()) for _ in range(2)]
    if sketch.boolean():
        kind = QuantizedAdd.of(scales[0], scales[1], sketch.scale(0.02, 0.1), sketch.range())
        sketch.keep(sketch.add(kind, lhs, rhs))
    else:
        factor = sketch.scale(0.002, 0.02)
        product = QuantizedMul(scales[0][1], scales[1][1], factor, sketch.range())
        sketch.keep(sketch.add(product, lhs, rhs))


def _unsigned_sum(sketch: _Sketch) -> None:
    """As models with u8 activations have it: unsigned in between."""
    x = sketch.value()
    top_bit = sketch.builder.constant(np.asarray(-128, np.int8))
    flip = Binary(BinaryFunction.XOR)
    unsigned = sketch.add(Cast(DType.U8), sketch.add(flip, x, top_bit))
    scales = [(sketch.scale(0.01, 0.1), sketch.integer(0, 255)) for _ in range(2)]
    range_ = sketch.range(DType.U8)
    kind = QuantizedAdd.of(scales[0], scales[1], sketch.scale(0.02, 0.1), range_)
    total = sketch.add(kind, unsigned, unsigned)
    sketch.keep(sketch.add(flip, sketch.add(Cast(DType.I8), total), top_bit))


def _rescale(sketch: _Sketch) -> None:
    scale = sketch.builder.constant(np.asarray(sketch.scale(0.3, 3), np.float32), name="scale")
    sketch.keep(sketch.add(Requantize(sketch.range(), sketch.zero_point()), sketch.value(), scale))


def _wide_sum(sketch: _Sketch) -> None:
    """Two accumulators in one of 64 bits, below 2^47."""
    x, make = sketch.value(), sketch.builder.constant
    bits = sketch.integer(1, 38)
    factor = make(np.asarray(sketch.integer(1 << (bits - 1), 1 << bits), np.int64))
    wide = sketch.add(Cast(DType.I64), x)
    product = sketch.add(Binary(BinaryFunction.MUL), wide, factor)
    sketch.requantized(sketch.add(Binary(BinaryFunction.ADD), product, wide), 75.0 * 2**bits)


def _table(sketch: _Sketch) -> None:
    entries = sketch.rng.integers(-128, 128, 256).astype(np.int8)
    sketch.keep(sketch.add(Table(Tensor(entries)), sketch.value()))


def _clamp(sketch: _Sketch) -> None:
    low, high = sorted((sketch.integer(-128, 127), sketch.integer(-128, 127)))
    sketch.keep(sketch.add(Clamp(float(low), float(high)), sketch.value()))


def _softmax(sketch: _Sketch) -> None:
    x = sketch.value()
    scale = np.float32(sketch.scale(0.005, 0.2))
    kind = QuantizedSoftmax(
        sketch.integer(0, x.type.rank - 1), 1 / 256, sketch.range(), exponentials(scale)
    )
    sketch.keep(sketch.add(kind, x))


def _words(sketch: _Sketch) -> None:
    """Through 16 bits and back: an interpolated table, or a softmax."""
    x, rng, make = sketch.value(), sketch.rng, sketch.builder.constant
    dtype = sketch.one_of((DType.I16, DType.U16))
    scale = make(np.asarray(sketch.scale(20, 400), np.float32), name="scale")
    wide = sketch.add(Requantize(sketch.range(dtype), sketch.zero_point()), x, scale)
    if sketch.boolean():
        stored = sketch.one_of((DType.I16, DType.U16, DType.I32))
        size = (1 << sketch.integer(1, 12)) + 1
        low, high = integer_bounds(stored) if stored is not DType.I32 else (-(1 << 29), 1 << 29)
        entries = rng.integers(low, high, size, endpoint=True).astype(stored.numpy)
        range_ = sketch.range(sketch.one_of((DType.I8, DType.I16, DType.U16)))
        y = sketch.add(InterpolatedTable(Tensor(entries), sketch.integer(0, 14), range_), wide)
    else:
        tables = exponential_tables(np.float32(sketch.scale(1e-5, 1e-2)))
        numbers = sketch.integer(0, (1 << 31) - 1), sketch.integer(20, 60)
        kind = WideSoftmax(
            sketch.integer(0, x.type.rank - 1), *tables, *numbers, sketch.range(DType.I16)
        )
        y = sketch.add(kind, wide)
    sketch.keep(y) if y.type.dtype is DType.I8 else sketch.requantized(y, 2.0**15)


def _norm(sketch: _Sketch) -> None:
    x = sketch.value()
    axis = sketch.integer(0, x.type.rank - 1)
    zero_point, inner = sketch.zero_point(), x.type.dims[axis:]
    largest = largest_magnitude(DType.I8, zero_point)
    chosen = precision(int(np.prod(inner)), largest, sketch.scale(1e-6, 10))
    assert chosen is not None
    result_bits = chosen.fraction + sketch.integer(8, 24)
    kept = chosen.epsilon, chosen.variance_bits, chosen.reciprocal_bits, chosen.shift
    kind = QuantizedNorm(axis, sketch.boolean(), zero_point, *kept, result_bits, sketch.range())
    size = 1 << (result_bits - chosen.fraction + 5)
    scale = sketch.rng.integers(-size, size, inner if sketch.boolean() else ()).astype(np.int32)
    bias = sketch.rng.integers(-50, 50, inner[-1:]) << result_bits
    operands = [sketch.builder.constant(array) for array in (scale, bias + (bias >> 9))]
    sketch.keep(sketch.add(kind, x, *operands[: sketch.integer(1, 2)]))


def _recurrent(sketch: _Sketch) -> None:
    x = sketch.value()
    features = x.type.dims[-1]
    rows = x.type.num_elements // features
    batch = sketch.one_of([size for size in (1, 2, 3) if rows % size == 0])
    steps, hidden, is_lstm = rows // batch, sketch.integer(1, 9), sketch.boolean()
    columns = (4 if is_lstm else 3) * hidden
    flat = sketch.add(Reshape((rows, features)), x)
    total = sketch.add(MatMul(sketch.zero_point()), flat, sketch.weights(features, columns))
    gates = sketch.add(Reshape((steps, batch, columns)), total)
    bits = sketch.integer(8, 15)
    # Now and then sums far beyond the curves, or next to nothing.
    odd = sketch.one_of((1.0, 1.0, 1e-7, 1e6))
    spreads = 5000.0 * features**0.5, 60.0 * hidden**0.5 * 2**bits
    scales = [
        np.array([sketch.scale(0.5 / spread, 4 / spread) for _ in range(columns)], np.float32)
        * np.float32(odd * 2**GATE_FRACTION)
        for spread in spreads
    ]
    make, rng = sketch.builder.constant, sketch.rng
    h0 = make(rng.integers(-(1 << 15), 1 << 15, (batch, hidden)).astype(np.int16), name="h0")
    lengths = make(rng.integers(0, steps + 1, batch).astype(np.int32), name="lengths")
    clip = sketch.one_of((2 * GATE_LIMIT, sketch.integer(1, 1 << 18)))
    gate = sketch.one_of((SIGMOID, Activation(CellFunction.HARD_SIGMOID, 0.2, 0.5)))
    curves = tuple(curve for curve in map(curve_of, (gate, TANH, TANH)) if curve is not None)
    third, kind = _cell(sketch, is_lstm, (curves, bits, clip, sketch.boolean()), (batch, hidden))
    states = [sketch.one_of((None, value)) for value in (h0, third, lengths)]
    weights = sketch.weights(hidden, columns)
    operands = (gates, weights, *(make(scale, name="scale") for scale in scales), *states)
    location = Location((f"{kind.mnemonic} '{len(sketch.values)}'",))
    results = sketch.builder.add(kind, operands, location=location)
    sketch.requantized(sketch.one_of(results[:2]), 2.0**bits)
    sketch.requantized(results[-1], 2.0**20 if is_lstm else 2.0**bits)


def _cell(
    sketch: _Sketch,
    is_lstm: bool,
    common: tuple[tuple[Curve, ...], int, int, bool],
    state: tuple[int, int],
) -> tuple[Value | None, OpKind]:
    """The kind of a scan, and the operand that only this kind has."""
    curves, bits, clip, reverse = common
    if is_lstm:
        cell = Cell(sketch.zero_point(), sketch.integer(1, 1 << 20), sketch.integer(0, 20))
        c0 = sketch.rng.integers(-128, 128, state).astype(np.int8)
        return sketch.builder.constant(c0), QuantizedLstmScan(
            curves, bits, clip, reverse, sketch.boolean(), cell
        )
    if sketch.boolean():
        return None, QuantizedGruScan(curves[:2], bits, clip, reverse)
    bias = sketch.rng.integers(-5000, 5000, state[1]).astype(np.int32)
    kind = QuantizedGruScan(curves[:2], bits, clip, reverse, linear_before_reset=True)
    return sketch.builder.constant(bias), kind


def _mean(sketch: _Sketch) -> None:
    x = sketch.value(4)
    count = x.type.dims[1] * x.type.dims[2]
    total = sketch.add(Reduce(ReduceFunction.SUM, (1, 2)), sketch.add(Cast(DType.I32), x))
    sketch.requantized(total, 75.0 * count)


def _pool(sketch: _Sketch) -> None:
    x = sketch.value(4)
    size = (min(2, x.type.dims[1]), min(2, x.type.dims[2]))
    window = Window(size, (sketch.integer(1, 2),) * 2, (1, 1), (0, 0), (0, 0))
    sketch.keep(sketch.add(MaxPool(window), x))


def _move(sketch: _Sketch) -> None:
    x = sketch.value()
    dims, rank = x.type.dims, x.type.rank
    axis = sketch.integer(0, rank - 1)
    choice = sketch.integer(0, 3)
    if choice == 0:
        order = tuple(sketch.draw(st.permutations(range(rank))))
        sketch.keep(sketch.add(Transpose(order), x))
    elif choice == 1:
        sizes = tuple(sketch.integer(1, dim) if a == axis else dim for a, dim in enumerate(dims))
        sketch.keep(sketch.add(Slice((0,) * rank, sizes, (1,) * rank), x))
    elif choice == 2:
        fill = sketch.builder.constant(np.asarray(sketch.zero_point(), np.int8), name="fill")
        amounts = tuple(int(a == axis) for a in range(rank))
        sketch.keep(sketch.add(Pad(amounts, amounts), x, fill))
    else:
        sketch.keep(sketch.add(Concat(axis), x, x))


_MAKERS: tuple[Callable[[_Sketch], None], ...] = (
    _conv,
    _conv,
    _matmul,
    _sum,
    _sum,
    _unsigned_sum,
    _rescale,
    _wide_sum,
    _table,
    _clamp,
    _softmax,
    _words,
    _norm,
    _recurrent,
    _mean,
    _pool,
    _move,
    _move,
)


@st.composite
def quantized_graphs(draw: st.DrawFn, max_ops: int = 10) -> Graph:
    """A valid graph of up to `max_ops` integer ops; one output is i8, one may be dequantized."""
    sketch = _Sketch(draw)
    dims = (1, sketch.integer(1, 6), sketch.integer(1, 6), sketch.integer(1, 9))
    if sketch.boolean():
        image = sketch.builder.input("image", TensorType(DType.I8, dims))
    else:
        floats = sketch.builder.input("image", TensorType(DType.F32, dims))
        scale = sketch.builder.constant(np.asarray(sketch.scale(0.01, 0.1), np.float32))
        image = sketch.add(Quantize(DType.I8), floats, scale)
    sketch.values.append(image)
    for _ in range(sketch.integer(1, max_ops)):
        sketch.one_of(_MAKERS)(sketch)
    outputs = [sketch.values[-1]]
    if sketch.boolean():
        scale = sketch.builder.constant(np.asarray(sketch.scale(0.01, 0.1), np.float32))
        outputs.append(sketch.add(Dequantize(), sketch.value(), scale))
    return sketch.builder.finish(outputs, [f"y{index}" for index in range(len(outputs))])
