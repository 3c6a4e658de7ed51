"""Selection: which ops of a graph the engine can execute, as layers, and why the others cannot.

First step of code generation for the engine. A layer may stand for several ops (a convolution and
its requantization); every op is in one layer or has a reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.npu.index_nests import MAX_NESTS, index_nests
from lepton_cc.codegen.npu.isa.packets import Elementwise, Pool
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    ElementwiseLayer,
    Layer,
    MapWindow,
    MatMulLayer,
    MoveLayer,
    PoolLayer,
    TableLayer,
    Weights,
    bytes_of,
    map_shape,
)
from lepton_cc.codegen.npu.operands import Operands
from lepton_cc.codegen.npu.requirements import (
    MAX_DEPTH,
    MAX_KERNEL,
    MAX_TAPS,
    MAX_UPSAMPLE,
    SMALLEST_NORMAL,
    Reason,
    UnmetError,
    map_window,
    normal_scale,
    require,
    require_map,
)
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Range, Requantize
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Gather, Pad, PadMode, Reshape, Slice, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class Selection:
    """Layers in topological order; `reasons` holds every other op that computes.

    `constants` are the arrays of maps that layers read and nothing makes; they lie in flash.
    """

    layers: tuple[Layer, ...]
    reasons: tuple[tuple[Op, Reason], ...]
    constants: Mapping[Value, Array]


def select(graph: Graph) -> Selection:
    """The layers of a graph, one for each op or chain of ops that the engine executes."""
    return _Selector(graph).run()


class _Selector:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._values = Operands(graph)
        self._layers: list[Layer] = []
        self._reasons: dict[Op, Reason] = {}
        self._in_layer: set[int] = set()

    def run(self) -> Selection:
        for op in self._graph.ops:
            if isinstance(op.kind, Constant):
                continue
            try:
                layer = self._layer(op)
            except UnmetError as refusal:
                self._reasons[op] = refusal.reason
                self._refuse_sums(op, refusal.reason)
                continue
            self._layers.append(layer)
            self._in_layer.update(id(member) for member in layer.ops)
        reasons = tuple(
            (op, reason) for op, reason in self._reasons.items() if id(op) not in self._in_layer
        )
        read = {value for layer in self._layers for value in layer.inputs}
        maps = self._values.constant_maps
        constants = {value: array for value, array in maps.items() if value in read}
        return Selection(tuple(self._layers), reasons, constants)

    def _refuse_sums(self, op: Op, reason: Reason) -> None:
        """What hinders a requantization hinders whatever made its sums."""
        producer = self._values.producer(op.inputs[0]) if isinstance(op.kind, Requantize) else None
        if producer is not None and type(producer.kind) in _SUM_RULES:
            self._reasons[producer] = reason

    def _layer(self, op: Op) -> Layer:
        for value in (*op.inputs, *op.results):
            require(not value.type.dtype.is_float or self._values.is_constant(value), Reason.FLOAT)
        for result in op.results:
            require_map(result.type)
        for kind, make in _RULES.items():
            if isinstance(op.kind, kind):
                return make(self, op)
        if Trait.POINTWISE in op.kind.traits:
            return self.table(op)
        sums = type(op.kind) in _SUM_RULES and op.result.type.dtype is DType.I32
        raise UnmetError(Reason.NOT_REQUANTIZED if sums else Reason.NO_INSTRUCTION)

    def requantize(self, op: Op) -> Layer:
        """Sums to 8 bits: ends a convolution, a product or a pool; of 8 bits a table."""
        assert isinstance(op.kind, Requantize)
        x = op.operands[0]
        assert x is not None
        if x.type.dtype.bits <= 8:
            return self.table(op)
        require(op.kind.range.dtype is DType.I8, Reason.DTYPE)
        producer = self._values.sums(op)
        for kind, make in _SUM_RULES.items():
            if isinstance(producer.kind, kind):
                return make(self, producer, op)
        raise UnmetError(Reason.NO_INSTRUCTION)

    def conv(self, op: Op, requantize: Op) -> Layer:
        """Convolution."""
        assert isinstance(op.kind, Conv)
        x = self._values.moving(op.operands[0])
        window = map_window(op.kind.window, x.type)
        weights = self._weights(op, requantize, _as_map_weights)
        groups = op.kind.groups
        depthwise = groups > 1 and groups == map_shape(x.type).channels == weights.num_outputs
        return ConvLayer(
            (op, requantize),
            requantize.result,
            x,
            weights,
            window,
            1 if depthwise else groups,
            depthwise,
            op.kind.zero_point,
            _plain_range(requantize),
        )

    def conv_transpose(self, op: Op, requantize: Op) -> Layer:
        """Transposed convolution: a convolution of the upsampled input by the mirrored kernel."""
        assert isinstance(op.kind, ConvTranspose)
        x = self._values.moving(op.operands[0])
        given = op.kind.window
        require(x.type.dims[0] == 1, Reason.BATCH)
        require(given.rank in (1, 2) and max(given.size) <= MAX_KERNEL, Reason.WINDOW)
        require(max(given.strides) <= MAX_UPSAMPLE and op.kind.groups == 1, Reason.WINDOW)
        tail = (1,) * (2 - given.rank)
        kernel = (*given.size, *tail)
        dilation = (*given.dilations, *tail)
        low = (*given.low, *(0,) * (2 - given.rank))
        window = MapWindow(
            (kernel[0], kernel[1]),
            dilation=(dilation[0], dilation[1]),
            pad=(
                (kernel[0] - 1) * dilation[0] - low[0],
                (kernel[1] - 1) * dilation[1] - low[1],
            ),
            upsample=(given.strides[0], (*given.strides, *tail)[1]),
        )
        weights = self._weights(op, requantize, _mirrored_weights)
        return ConvLayer(
            (op, requantize),
            requantize.result,
            x,
            weights,
            window,
            1,
            depthwise=False,
            input_zero_point=op.kind.zero_point,
            range=_plain_range(requantize),
        )

    def matmul(self, op: Op, requantize: Op) -> Layer:
        """Fully connected, or a product of two activations."""
        assert isinstance(op.kind, MatMul)
        x = self._values.moving(op.operands[0])
        rhs = op.operands[1]
        assert rhs is not None
        if self._values.is_constant(rhs):
            require(op.kind.rhs_zero_point == 0 and rhs.type.rank == 2, Reason.WEIGHTS)
            weights = self._weights(op, requantize, _as_matrix_weights)
            return ConvLayer(
                (op, requantize),
                requantize.result,
                x,
                weights,
                MapWindow(),
                1,
                depthwise=False,
                input_zero_point=op.kind.lhs_zero_point,
                range=_plain_range(requantize),
            )
        require(len(op.inputs) == 2, Reason.NO_INSTRUCTION)
        rhs = self._values.moving(rhs)
        batches = (x.type.shape[:-2], rhs.type.shape[:-2])
        assert isinstance(requantize.kind, Requantize)
        require(requantize.kind.input_zero_point == 0, Reason.NOT_REQUANTIZED)
        require(batches[0] == batches[1] and x.type.dims[-1] <= MAX_DEPTH, Reason.BROADCAST)
        scale = self._values.constant(requantize.operands[1])
        assert scale is not None
        require(scale.size == 1, Reason.SCALE)
        return MatMulLayer(
            (op, requantize),
            requantize.result,
            x,
            rhs,
            op.kind.lhs_zero_point,
            op.kind.rhs_zero_point,
            normal_scale(scale),
            _plain_range(requantize),
        )

    def sum_pool(self, op: Op, requantize: Op) -> Layer:
        """The sum over rows, columns or both, scaled: global average pools."""
        assert isinstance(op.kind, Reduce)
        require(op.kind.function is ReduceFunction.SUM, Reason.NO_INSTRUCTION)
        cast = (
            self._values.sums(op) if isinstance(self._values.producer(op.inputs[0]), Op) else None
        )
        require(cast is not None and isinstance(cast.kind, Cast), Reason.NOT_REQUANTIZED)
        assert cast is not None
        assert isinstance(requantize.kind, Requantize)
        x = self._values.moving(cast.operands[0])
        rank = x.type.rank
        require(rank in (3, 4) and x.type.dims[0] == 1, Reason.BATCH)
        require(set(op.kind.axes) <= set(range(1, rank - 1)), Reason.NO_INSTRUCTION)
        shape = map_shape(x.type)
        kernel = (
            shape.height if 1 in op.kind.axes else 1,
            shape.width if rank == 4 and 2 in op.kind.axes else 1,
        )
        require(max(kernel) <= MAX_KERNEL and kernel[0] * kernel[1] <= MAX_TAPS, Reason.WINDOW)
        scale = self._values.constant(requantize.operands[1])
        assert scale is not None
        require(scale.size == 1, Reason.SCALE)
        return PoolLayer(
            (cast, op, requantize),
            requantize.result,
            Pool.SUM,
            x,
            MapWindow(kernel),
            normal_scale(scale),
            requantize.kind.input_zero_point,
            requantize.kind.range,
        )

    def max_pool(self, op: Op) -> Layer:
        """Maximum over windows."""
        assert isinstance(op.kind, MaxPool)
        x = self._values.moving(op.operands[0])
        window = map_window(op.kind.window, x.type)
        require(window.dilation == (1, 1), Reason.WINDOW)
        return PoolLayer((op,), op.result, Pool.MAX, x, window, 0.0, 0, Range.whole(DType.I8, 0))

    def quantized_add(self, op: Op) -> Layer:
        """Sum of two tensors."""
        assert isinstance(op.kind, QuantizedAdd)
        if self._values.has_scalar(op):
            return self.table(op)
        scales = (op.kind.lhs_scale, op.kind.rhs_scale)
        require(min(abs(s) for s in scales) >= SMALLEST_NORMAL, Reason.SCALE)
        # The order of the operands is part of the result; see docs/numerics.md.
        lhs, rhs, _ = self._values.pair(op, ordered=True)
        return ElementwiseLayer(
            (op,),
            op.result,
            Elementwise.ADD,
            lhs,
            rhs,
            *scales,
            op.kind.offset,
            (0, 0),
            op.kind.range.low,
            op.kind.range.high,
        )

    def quantized_mul(self, op: Op) -> Layer:
        """Product of two tensors."""
        assert isinstance(op.kind, QuantizedMul)
        if self._values.has_scalar(op):
            return self.table(op)
        require(op.kind.scale >= SMALLEST_NORMAL, Reason.SCALE)
        lhs, rhs, swapped = self._values.pair(op)
        points = (op.kind.lhs_zero_point, op.kind.rhs_zero_point)
        return ElementwiseLayer(
            (op,),
            op.result,
            Elementwise.MUL,
            lhs,
            rhs,
            op.kind.scale,
            0.0,
            float(op.kind.range.zero_point),
            points[::-1] if swapped else points,
            op.kind.range.low,
            op.kind.range.high,
        )

    def binary(self, op: Op) -> Layer:
        """Maximum and minimum of two tensors; others with one moving operand are tables."""
        assert isinstance(op.kind, Binary)
        kinds = {BinaryFunction.MAX: Elementwise.MAX, BinaryFunction.MIN: Elementwise.MIN}
        if len(op.inputs) < 2 or self._values.has_scalar(op):
            return self.table(op)
        require(op.kind.function in kinds, Reason.NO_INSTRUCTION)
        lhs, rhs, _ = self._values.pair(op)
        kind = kinds[op.kind.function]
        return ElementwiseLayer((op,), op.result, kind, lhs, rhs, 0.0, 0.0, 0.0, (0, 0), -128, 127)

    def table(self, op: Op) -> Layer:
        """A pointwise function of one 8-bit tensor and scalars: 256 entries, made by evaluation."""
        moving = [
            i
            for i, v in enumerate(op.operands)
            if v is not None and not self._values.is_constant(v)
        ]
        require(len(moving) == 1 and len(op.results) == 1, Reason.NO_INSTRUCTION)
        x = op.operands[moving[0]]
        assert x is not None
        for value in (x, op.result):
            require(value.type.dtype in (DType.I8, DType.U8), Reason.DTYPE)
        require(x.type.shape == op.result.type.shape, Reason.BROADCAST)
        operands: list[Array | None] = []
        for operand in op.operands:
            array = self._values.constant(operand)
            require(array is None or array.size == 1, Reason.SCALE)
            operands.append(None if array is None else array.reshape(()))
        operands[moving[0]] = np.arange(-128, 128).astype(np.int8).view(x.type.dtype.numpy)
        (entries,) = op.kind.evaluate(operands)
        return TableLayer((op,), op.result, x, bytes_of(entries))

    def move(self, op: Op) -> Layer:
        """Movement of bytes."""
        for value in (*op.inputs, op.result):
            if not self._values.is_constant(value) or isinstance(op.kind, Concat):
                require(value.type.dtype.bits == 8, Reason.DTYPE)
        if isinstance(op.kind, Pad):
            fill = op.operands[1] if len(op.operands) > 1 else None
            require(op.kind.mode is PadMode.CONSTANT, Reason.NO_INSTRUCTION)
            require(fill is None or self._values.is_constant(fill), Reason.NO_INSTRUCTION)
            number = self._values.constant(fill)
            return MoveLayer((op,), op.result, 0 if number is None else int(number.reshape(())))
        if isinstance(op.kind, Slice):
            require(min(op.kind.steps) > 0, Reason.NO_INSTRUCTION)
        moves_constant = self._values.is_constant(op.inputs[0]) and not isinstance(op.kind, Concat)
        require(not moves_constant, Reason.NO_INSTRUCTION)
        if isinstance(op.kind, Concat):
            for value in op.inputs:
                self._values.keep_constant(value)
        return MoveLayer((op,), op.result)

    def gather(self, op: Op) -> Layer:
        """Movement by constant indices along an axis, few loops of them: nearest resizes."""
        assert isinstance(op.kind, Gather)
        x = self._values.moving(op.inputs[0])
        indices = self._values.constant(op.inputs[1])
        require(indices is not None and indices.ndim == 1, Reason.NO_INSTRUCTION)
        # What an index means, wrapped or clamped, is what it takes of the axis' own numbers.
        places = np.arange(x.type.dims[op.kind.axis])
        (taken,) = Gather(0).evaluate([places, indices])
        found = tuple(taken.tolist())
        require(len(index_nests(found)) <= MAX_NESTS, Reason.NO_INSTRUCTION)
        return MoveLayer((op,), op.result, indices=found)

    def _weights(self, op: Op, requantize: Op, arrange: Callable[[Array, Op], Array]) -> Weights:
        given = op.operands[1]
        array = self._values.constant(given)
        require(array is not None, Reason.WEIGHTS)
        assert array is not None
        assert given is not None
        narrow = given.type.dtype in (DType.I8, DType.I4)
        require(narrow, Reason.WEIGHTS)
        values = arrange(array.astype(np.int8), op)
        outputs = values.shape[-1]
        scale = self._values.constant(requantize.operands[1])
        assert scale is not None
        assert isinstance(requantize.kind, Requantize)
        require(requantize.kind.input_zero_point == 0, Reason.NOT_REQUANTIZED)
        per_channel = scale.size == 1 or scale.shape[-1:] == (outputs,) == (scale.size,)
        require(per_channel and bool((scale >= SMALLEST_NORMAL).all()), Reason.SCALE)
        scales = np.broadcast_to(scale.reshape(-1), (outputs,)).astype(np.float32)
        bias = self._values.constant(op.operands[2]) if len(op.operands) > 2 else None
        require(len(op.inputs) < 3 or bias is not None, Reason.WEIGHTS)
        biases = np.zeros(outputs, np.int32) if bias is None else bias.astype(np.int32)
        return Weights(values, scales, biases)


def _plain_range(requantize: Op) -> Range:
    assert isinstance(requantize.kind, Requantize)
    return requantize.kind.range


def _as_map_weights(array: Array, op: Op) -> Array:
    """[rows, columns, channels, outputs]; one-dimensional windows have one column."""
    return array if array.ndim == 4 else array.reshape(array.shape[0], 1, *array.shape[1:])


def _mirrored_weights(array: Array, op: Op) -> Array:
    spatial = _as_map_weights(array, op)
    return np.ascontiguousarray(spatial[::-1, ::-1])


def _as_matrix_weights(array: Array, op: Op) -> Array:
    return array.reshape(1, 1, *array.shape)


_Rule = Callable[[_Selector, Op], Layer]
_RULES: Mapping[type, _Rule] = {
    Requantize: _Selector.requantize,
    MaxPool: _Selector.max_pool,
    QuantizedAdd: _Selector.quantized_add,
    QuantizedMul: _Selector.quantized_mul,
    Binary: _Selector.binary,
    Reshape: _Selector.move,
    Transpose: _Selector.move,
    Slice: _Selector.move,
    Concat: _Selector.move,
    Pad: _Selector.move,
    Gather: _Selector.gather,
}
_SUM_RULES: Mapping[type, Callable[[_Selector, Op, Op], Layer]] = {
    Conv: _Selector.conv,
    ConvTranspose: _Selector.conv_transpose,
    MatMul: _Selector.matmul,
    Reduce: _Selector.sum_pool,
}
