"""Quantizing a float graph: pairs behind its points, integer weights and biases.

What it leaves is what a QDQ model says; `raise_integers` makes integer ops of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Binary, Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Statistics, without_dead_ops
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.quantize.activation_parameters import (
    ActivationParameters,
    Interval,
    activation_parameters,
)
from lepton_cc.passes.quantize.channel_moments import ChannelMoments, importance, mean_shift
from lepton_cc.passes.quantize.quantization_points import QuantizationPoints, quantization_points
from lepton_cc.passes.quantize.weight_rounding import (
    QuantizedWeights,
    RoundedLayer,
    WeightScheme,
    fitting_block,
    quantize_blocks,
    quantize_weights,
    smallest_scales,
)


@dataclass(frozen=True, slots=True)
class InsertQuantization(Pass):
    """Quantizes activations to i8 and constant weights to i8 or i4; biases become i32.

    Accepts a float graph with its batch normalizations folded. `ranges` holds the interval of each
    value by name; a value without one stays float. `moments` describe what contractions read, by
    its name: with them biases make up for the mean error of rounded weights. `rounded` are the
    weights of contractions, by the name of their result, that are rounded already. `layers` have
    another scheme than the rest, by the name of their result: for their weights, and for the
    activations that they give. With a `block`, weights of matrix products have a scale for each
    column of so many rows (or of the nearest number that divides them), and all else stays float.
    """

    NAME: ClassVar[str] = "insert-quantization"
    scheme: WeightScheme = WeightScheme.W8A8
    ranges: Mapping[str, Interval] = field(default_factory=dict)
    moments: Mapping[str, ChannelMoments] = field(default_factory=dict)
    rounded: Mapping[str, RoundedLayer] = field(default_factory=dict)
    layers: Mapping[str, WeightScheme] = field(default_factory=dict)
    block: int = 0

    def block_of(self, op: Op) -> int:
        """How many rows of a layer's weights share a scale; 0 if there are no blocks."""
        fits = self.block and isinstance(op.kind, MatMul) and op.inputs[1].type.rank == 2
        return fitting_block(op.inputs[1].type.dims[0], self.block) if fits else 0

    def weights_dtype(self, op: Op, num_elements: int) -> DType:
        """The integers of a layer's weights."""
        return self.layers.get(op.results[0].name, self.scheme).dtype(num_elements)

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        refuse_quantized(graph)
        return _Inserter(self, graph, statistics).run()


def refuse_quantized(graph: Graph) -> None:
    """Refuses a model that states its quantization itself.

    Raises:
        Refused: the graph has a Quantize.
    """
    for op in graph.ops:
        if isinstance(op.kind, Quantize):
            raise refuse(
                Code.UNSUPPORTED_FORM,
                "the model is quantized already",
                node=str(op.location),
                hint="compile it without --quantize, or give the float model",
            )


class _Inserter:
    """Copies a graph op by op; readers of a point are given what was dequantized."""

    def __init__(self, options: InsertQuantization, graph: Graph, statistics: Statistics) -> None:
        self._options = options
        self._graph = graph
        self._statistics = statistics
        self._points: QuantizationPoints = quantization_points(graph)
        self._parameters = self._known_parameters()
        self._arrays = {
            op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
        }
        names = [v.name for v in graph.inputs]
        names += [result.name for op in graph.ops for result in op.results]
        self._builder = GraphBuilder(graph.name, names)
        self._new: dict[Value, Value] = {}
        # The parameters of what a new value was dequantized from.
        self._behind: dict[Value, ActivationParameters] = {}

    def run(self) -> Graph:
        contractions, layers = set(self._points.contractions), set(self._points.layers)
        for value in self._graph.inputs:
            self._bind(value, self._builder.input(value.name, value.type), Location())
        for op in self._graph.ops:
            operands = tuple(self._operand(v, op) for v in op.operands)
            new = Op(op.kind, operands, op.results, op.location)
            if op in contractions and self._options.block:
                new = self._quantized_blocks(new, op)
            elif op in contractions:
                new = self._quantized_contraction(new, op.inputs[0].name)
            elif op in layers:
                new = self._quantized_layer(new)
            self._builder.append(new)
            for value in op.results:
                self._bind(value, value, op.location)
        outputs = [self._new[value] for value in self._graph.outputs]
        return without_dead_ops(self._builder.finish(outputs, self._graph.output_names))

    def _operand(self, old: Value | None, op: Op) -> Value | None:
        """What an op of the float graph reads now."""
        is_kept = (old, op) not in self._points.constants or bool(self._options.block)
        if old is None or is_kept:
            return None if old is None else self._new[old]
        array = self._arrays[old]
        if not np.all(np.isfinite(array)):
            return self._new[old]
        return self._constant(old, self._saturating(op, array), op.location)

    def _saturating(self, op: Op, constant: Array) -> Array:
        """A constant addend cut to where the sum saturates whatever it is added to.

        That changes no sum, and an attention mask of -1e9 does not take all the integers.
        """
        if op.kind != Binary(BinaryFunction.ADD):
            return constant
        (other,) = (v for v in op.inputs if self._arrays.get(v) is not constant)
        total = self._parameters.get(op.result)
        by = self._behind.get(self._new[other])
        if total is None or by is None:
            return constant
        least, most = total.interval, by.interval
        return np.clip(constant, least.low - most.high, least.high - most.low)

    def _known_parameters(self) -> Mapping[Value, ActivationParameters]:
        if self._options.block:
            return {}
        activations = self._options.scheme.activations
        found = {value: by.widened(activations) for value, by in self._points.fixed.items()}
        producers = self._graph.producers()
        for value in self._points.measured:
            if value.name in self._options.ranges:
                scheme = self._scheme_of(value, producers)
                dtype = DType.I16 if value in self._points.wide else scheme.activations
                found[value] = activation_parameters(self._options.ranges[value.name], dtype)
        return found

    def _scheme_of(self, value: Value, producers: Mapping[Value, Op]) -> WeightScheme:
        """That of the layer which a value is the result of, clamped or moved at most."""
        options = self._options
        op = producers.get(value)
        while op is not None and op.results[0].name not in options.layers:
            follows = isinstance(op.kind, Clamp) or Trait.MOVEMENT in op.kind.traits
            op = producers.get(op.inputs[0]) if follows and op.inputs else None
        return options.scheme if op is None else options.layers[op.results[0].name]

    def _bind(self, old: Value, new: Value, location: Location) -> None:
        """Decides what the readers of `old` are given."""
        if old in self._parameters:
            new = self._pair(new, self._parameters[old], location)
        else:
            self._carry(old, new)
        self._new[old] = new

    def _carry(self, old: Value, new: Value) -> None:
        """What moves dequantized elements has their scale."""
        op = self._builder.producer(new)
        if op is not None and op.inputs and old in self._points.moved:
            behind = self._behind.get(op.inputs[0])
            if behind is not None:
                self._behind[new] = behind

    def _pair(self, x: Value, by: ActivationParameters, location: Location) -> Value:
        add = self._builder
        scale = add.constant(np.asarray(by.scale), location, "scale")
        zero_point = add.constant(
            np.asarray(by.zero_point).astype(by.dtype.numpy), location, "zero_point"
        )
        parameters = (scale, zero_point)
        integers = add.emit(
            Quantize(by.dtype), x, *parameters, location=location, name=f"{x.name}.quantized"
        )
        reals = add.emit(
            Dequantize(), integers, *parameters, location=location, name=f"{x.name}.dequantized"
        )
        self._behind[reals] = by
        self._statistics.count("quantize an activation")
        return reals

    def _constant(self, old: Value, array: Array, location: Location) -> Value:
        dtype = self._options.scheme.activations
        by = activation_parameters(Interval(float(array.min()), float(array.max())), dtype)
        steps = np.rint(array.astype(np.float64) / float(by.scale)) + by.zero_point
        typed = np.clip(steps, *integer_bounds(dtype)).astype(dtype.numpy)
        integers = self._builder.constant(typed, location, f"{old.name}.quantized")
        self._statistics.count("quantize a constant")
        scale = np.asarray(by.scale)
        reals = self._dequantized(integers, scale, location, zero_point=by.zero_point)
        self._behind[reals] = by
        return reals

    def _dequantized(
        self, x: Value, scales: Array, location: Location, *, zero_point: int = 0
    ) -> Value:
        operands = [x, self._builder.constant(scales, location, "scale")]
        if zero_point:
            typed = np.full(scales.shape, zero_point).astype(x.type.dtype.numpy)
            operands.append(self._builder.constant(typed, location, "zero_point"))
        name = f"{x.name.removesuffix('.quantized')}.dequantized"
        return self._builder.emit(Dequantize(), *operands, location=location, name=name)

    def _quantized_contraction(self, op: Op, source_name: str) -> Op:
        """The op with dequantized weights and bias, if what it reads is quantized."""
        x = op.inputs[0]
        by = self._behind.get(x)
        weights = self._arrays[op.inputs[1]]
        bias = self._arrays[op.inputs[2]] if len(op.inputs) > 2 else None
        if by is None or not np.all(np.isfinite(weights)):
            return op
        if bias is not None and not np.all(np.isfinite(bias)):
            return op
        moments = self._options.moments.get(source_name)
        quantized, bias = self._rounded(op, weights, bias, by, moments)
        operands = [x, self._weights(op, quantized)]
        if bias is not None:
            operands.append(self._bias(op, bias, by.scale * quantized.scales))
        self._statistics.count("quantize weights")
        return Op(op.kind, tuple(operands), op.results, op.location)

    def _quantized_blocks(self, op: Op, old: Op) -> Op:
        """A product with weights in blocks, dequantized to floats."""
        block, weights = self._options.block_of(old), self._arrays[op.inputs[1]]
        if not block or not np.all(np.isfinite(weights)):
            return op
        given = self._options.rounded.get(op.results[0].name)
        if given is None:
            moments = self._options.moments.get(old.inputs[0].name)
            weighed_by = None if moments is None else importance(old, moments)
            dtype = self._options.weights_dtype(op, weights.size)
            given = RoundedLayer(quantize_blocks(weights, dtype, block, weighed_by), None)
        blocks = self._weights(op, given.weights)
        value = self._builder.emit(Reshape(weights.shape), blocks, location=op.location)
        operands = [op.inputs[0], value, *op.inputs[2:]]
        if len(operands) > 2:
            bias = self._shifted(self._arrays[operands[2]], given.bias_shift)
            assert bias is not None
            operands[2] = self._builder.constant(bias.astype(np.float32), op.location, "bias")
        self._statistics.count("quantize weights")
        return Op(op.kind, tuple(operands), op.results, op.location)

    def _rounded(
        self,
        op: Op,
        weights: Array,
        bias: Array | None,
        by: ActivationParameters,
        moments: ChannelMoments | None,
    ) -> tuple[QuantizedWeights, Array | None]:
        """Integer weights, and the bias with what makes up for their rounding."""
        given = self._options.rounded.get(op.results[0].name)
        if given is not None:
            return given.weights, self._shifted(bias, given.bias_shift)
        columns = weights.shape[-1]
        outputs = op.results[0].type.dims[-1]
        weighed_by = None if moments is None else importance(op, moments)
        smallest = smallest_scales(bias, by.scale, outputs)
        # Groups of a transposed convolution share the columns.
        smallest = smallest.reshape(-1, columns).max(axis=0)
        dtype = self._options.weights_dtype(op, weights.size)
        quantized = quantize_weights(weights, dtype, smallest, weighed_by)
        if moments is not None:
            shift = mean_shift(op, moments, weights - quantized.reals)
            bias = self._shifted(bias, shift)
        return quantized, bias

    def _shifted(self, bias: Array | None, shift: Array | None) -> Array | None:
        if shift is None:
            return bias
        self._statistics.count("correct a bias")
        return shift if bias is None else bias.astype(np.float64) + shift

    def _quantized_layer(self, op: Op) -> Op:
        """An LSTM or GRU with dequantized weights; its bias becomes steps of them when raised."""
        matrices = [self._arrays[value] for value in op.inputs[1:3]]
        finite = all(np.all(np.isfinite(array)) for array in matrices)
        if op.inputs[0] not in self._behind or not finite:
            return op
        operands = list(op.operands)
        for number, array in enumerate(matrices, start=1):
            dtype = self._options.weights_dtype(op, array.size)
            quantized = quantize_weights(array, dtype, np.zeros(array.shape[-1]))
            operands[number] = self._weights(op, quantized, number)
            self._statistics.count("quantize weights")
        return Op(op.kind, tuple(operands), op.results, op.location)

    def _weights(self, op: Op, quantized: QuantizedWeights, number: int = 1) -> Value:
        name = f"{op.inputs[number].name}.quantized"
        integers = self._builder.constant(quantized.integers, op.location, name)
        return self._dequantized(integers, quantized.scales, op.location)

    def _bias(self, op: Op, bias: Array, column_steps: Array) -> Value:
        """i32 in steps of x_scale * w_scale[c]."""
        steps = np.tile(column_steps, bias.size // column_steps.size).astype(np.float32)
        integers = np.rint(bias.astype(np.float64) / steps.astype(np.float64))
        name = f"{op.inputs[2].name}.quantized" if len(op.inputs) > 2 else "bias.quantized"
        limit = float(np.iinfo(np.int32).max)
        typed = np.clip(integers, -limit, limit).astype(np.int32)
        value = self._builder.constant(typed, op.location, name)
        return self._dequantized(value, steps, op.location)
