"""Selection: every kind of layer, and every reason why an op stays on the core."""

from collections.abc import Callable

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.packets import Elementwise, Pool
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    ElementwiseLayer,
    Layer,
    MatMulLayer,
    MoveLayer,
    PoolLayer,
    TableLayer,
)
from lepton_cc.codegen.npu.placement import place_on_engine
from lepton_cc.codegen.npu.requirements import Reason
from lepton_cc.codegen.npu.select import select
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Clamp
from lepton_cc.ir.ops.integer import QuantizedMul, Range, Requantize
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Gather, Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.types import TensorType
from tests.codegen.npu.small_networks import WHOLE, Network

Make = Callable[[Network], Value]


def only_layer(make: Make) -> Layer:
    """The single layer of a network in which nothing is refused."""
    net = Network()
    selection = select(net.finish(make(net)))
    assert not selection.reasons
    (layer,) = selection.layers
    return layer


def image(net: Network, channels: int = 6) -> Value:
    return net.input(1, 9, 7, channels)


@pytest.mark.parametrize(
    ("make", "kind", "num_ops"),
    [
        (lambda net: net.conv(image(net), 4), ConvLayer, 2),
        (lambda net: net.conv(image(net), 4, groups=2), ConvLayer, 2),
        (lambda net: net.depthwise(image(net)), ConvLayer, 2),
        (lambda net: net.conv(net.input(1, 9, 6), 4, (3,)), ConvLayer, 2),
        (lambda net: net.conv_transpose(image(net), 4), ConvLayer, 2),
        (lambda net: net.dense(net.input(1, 20), 4), ConvLayer, 2),
        (lambda net: net.dense(net.input(5, 3, 20), 4), ConvLayer, 2),
        (lambda net: net.product(net.input(2, 5, 4), net.input(2, 4, 3)), MatMulLayer, 2),
        (lambda net: net.mean(image(net)), PoolLayer, 3),
        (lambda net: net.max_pool(image(net)), PoolLayer, 1),
        (lambda net: net.add(image(net), image(net)), ElementwiseLayer, 1),
        (lambda net: net.mul(image(net), net.input(1, 1, 1, 6)), ElementwiseLayer, 1),
        (lambda net: net.mul(net.input(1, 1, 1, 6), image(net)), ElementwiseLayer, 1),
        (lambda net: net.maximum(image(net), image(net)), ElementwiseLayer, 1),
        (lambda net: net.mul(image(net), net.constant(1, 9, 7, 6)), ElementwiseLayer, 1),
        (lambda net: net.add(net.constant(6), image(net)), ElementwiseLayer, 1),
        (lambda net: net.maximum(image(net), net.constant(1, 1, 7, 1)), ElementwiseLayer, 1),
        (lambda net: net.mul(image(net), net.constant(1, 1)), TableLayer, 1),
        (lambda net: net.add(net.constant(), image(net)), TableLayer, 1),
        (lambda net: net.concat(3, image(net), net.constant(1, 9, 7, 2)), MoveLayer, 1),
        (lambda net: net.table(image(net)), TableLayer, 1),
        (lambda net: net.op(Clamp(-7.0, 9.0), image(net)), TableLayer, 1),
        (lambda net: net.requantized(image(net), 1, 127, WHOLE, channels=False), TableLayer, 1),
        (lambda net: net.transpose(image(net), 0, 2, 1, 3), MoveLayer, 1),
        (lambda net: net.reshape(image(net), 1, 63, 6), MoveLayer, 1),
        (lambda net: net.concat(3, image(net), image(net)), MoveLayer, 1),
        (lambda net: net.slice(image(net), (0, 1, 1, 1), (1, 4, 3, 2)), MoveLayer, 1),
        (lambda net: net.gather(image(net), 1, *(i // 2 for i in range(18))), MoveLayer, 1),
        (lambda net: net.pad(image(net), (0, 1, 0, 0), (0, 0, 1, 0)), MoveLayer, 1),
    ],
)
def test_a_layer(make: Make, kind: type[Layer], num_ops: int) -> None:
    layer = only_layer(make)
    assert type(layer) is kind
    assert len(layer.ops) == num_ops


def test_a_constant_is_repeated_where_strides_cannot() -> None:
    net = Network()
    x, constant = net.input(2, 3, 4, 5), net.constant(2, 1, 4, 5)
    selection = select(net.finish(net.mul(x, constant)))
    (layer,) = selection.layers
    ((value, array),) = selection.constants.items()
    assert layer.inputs == (x, value)
    assert value.type == x.type
    assert np.ptp(array, axis=1).max() == 0


def test_a_depthwise_convolution_has_one_group() -> None:
    layer = only_layer(lambda net: net.depthwise(image(net)))
    assert isinstance(layer, ConvLayer)
    assert (layer.depthwise, layer.groups) == (True, 1)
    assert layer.weights.values.shape == (3, 3, 1, 6)


def test_a_channel_multiplier_is_a_grouped_convolution() -> None:
    layer = only_layer(lambda net: net.conv(image(net), 12, groups=6))
    assert isinstance(layer, ConvLayer)
    assert (layer.depthwise, layer.groups) == (False, 6)


def test_a_sequence_slides_over_rows() -> None:
    layer = only_layer(lambda net: net.conv(net.input(1, 9, 6), 4, (3,), stride=2))
    assert isinstance(layer, ConvLayer)
    assert (layer.window.kernel, layer.window.stride) == ((3, 1), (2, 1))
    assert (layer.shape.height, layer.shape.width) == (5, 1)


def test_a_global_pool_sums_the_whole_map() -> None:
    layer = only_layer(lambda net: net.mean(image(net)))
    assert isinstance(layer, PoolLayer)
    assert (layer.kind, layer.window.kernel) == (Pool.SUM, (9, 7))


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_repeated_stands_second(swapped: bool) -> None:
    net = Network()
    x, factor = image(net), net.input(1, 1, 1, 6)
    y = net.mul(factor, x) if swapped else net.mul(x, factor)
    (layer,) = select(net.finish(y)).layers
    assert isinstance(layer, ElementwiseLayer)
    assert (layer.kind, layer.lhs, layer.rhs) == (Elementwise.MUL, x, factor)


_INDICES = TensorType(DType.I32, (5,))


def unsigned(net: Network, *dims: int) -> Value:
    return net.builder.input("u", TensorType(DType.U8, dims))


def _float(net: Network) -> Value:
    scale = net.builder.constant(np.asarray(0.5, np.float32))
    return net.op(Dequantize(), image(net), scale)


def _sums_read_twice(net: Network) -> Value:
    x = image(net)
    total = net.op(Conv(_window(1)), x, _weights(net, 1, 1, 6, 6))
    first, second = (net.requantized(total, 6, 127, WHOLE) for _ in range(2))
    return net.add(first, second)


def _window(size: int) -> Window:
    return Window((size, size), (1, 1), (1, 1), (0, 0), (0, 0))


def _weights(net: Network, *dims: int) -> Value:
    return net.builder.constant(np.ones(dims, np.int8))


def _moving_weights(net: Network) -> Value:
    weights = net.input(1, 1, 6, 4)
    return net.requantized(net.op(Conv(_window(1)), image(net), weights), 6, 127, WHOLE)


def _three_dimensions(net: Network) -> Value:
    return net.conv(net.input(1, 3, 3, 3, 2), 2, (1, 1, 1))


def _scales_of_columns(net: Network) -> Value:
    total = net.op(MatMul(), net.input(1, 5, 4), net.input(1, 4, 3))
    scale = net.builder.constant(np.array([0.01, 0.02, 0.03], np.float32))
    return net.op(Requantize(WHOLE), total, scale)


def _product_with_offset(net: Network) -> Value:
    total = net.op(MatMul(), net.input(1, 5, 4), net.input(1, 4, 3))
    scale = net.builder.constant(np.asarray(0.01, np.float32))
    return net.op(Requantize(WHOLE, 7), total, scale)


def _words(net: Network) -> Value:
    scale = net.builder.constant(np.asarray(30.0, np.float32))
    return net.op(Requantize(Range.whole(DType.I16, 0)), image(net), scale)


def _unsigned_product(net: Network) -> Value:
    kind = QuantizedMul(3, -4, 0.009, Range.whole(DType.U8, 7))
    return net.op(kind, image(net), image(net))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_float, Reason.FLOAT),
        (
            lambda net: net.op(Binary(BinaryFunction.ADD), image(net), image(net)),
            Reason.NO_INSTRUCTION,
        ),
        (
            lambda net: net.op(Slice((0, 8, 0, 0), (1, 9, 7, 6), (1, -1, 1, 1)), image(net)),
            Reason.NO_INSTRUCTION,
        ),
        (
            lambda net: net.gather(net.input(1, 99), 1, *(i * i % 97 for i in range(97))),
            Reason.NO_INSTRUCTION,
        ),
        (
            lambda net: net.op(Gather(1), image(net), net.builder.input("i", _INDICES)),
            Reason.NO_INSTRUCTION,
        ),
        (lambda net: net.op(MaxPool(_window(2)), unsigned(net, 1, 4, 4, 2)), Reason.DTYPE),
        (_words, Reason.DTYPE),
        (_unsigned_product, Reason.DTYPE),
        (_sums_read_twice, Reason.NOT_REQUANTIZED),
        (_product_with_offset, Reason.NOT_REQUANTIZED),
        (lambda net: net.table(net.input(1, 70000)), Reason.SHAPE),
        (lambda net: net.conv(net.input(2, 5, 5, 3), 4), Reason.BATCH),
        (lambda net: net.max_pool(net.input(2, 4, 4, 3)), Reason.BATCH),
        (_three_dimensions, Reason.WINDOW),
        (lambda net: net.max_pool(net.input(1, 300, 300, 1), 256), Reason.WINDOW),
        (_moving_weights, Reason.WEIGHTS),
        (_scales_of_columns, Reason.SCALE),
        (lambda net: net.add(net.input(1, 1, 1, 6), image(net)), Reason.BROADCAST),
        (lambda net: net.add(net.input(3, 3, 4), net.input(1, 3, 4)), Reason.BROADCAST),
        (lambda net: net.add(net.input(9, 99, 99), net.constant(1, 99, 99)), Reason.BROADCAST),
        (lambda net: net.product(net.input(2, 5, 4), net.input(1, 4, 3)), Reason.BROADCAST),
    ],
)
def test_a_reason(make: Make, reason: Reason) -> None:
    net = Network()
    graph = net.finish(make(net))
    assert reason in {given for _, given in select(graph).reasons}


def test_every_op_has_a_layer_or_a_reason() -> None:
    net = Network()
    graph = net.finish(_sums_read_twice(net))
    selection = select(graph)
    placed = {op for layer in selection.layers for op in layer.ops}
    refused = {op for op, _ in selection.reasons}
    assert not placed & refused
    assert len(placed | refused) == sum(op.kind.mnemonic != "constant" for op in graph.ops)


def quantized_input(net: Network, *dims: int) -> Value:
    x = net.builder.input("image", TensorType(DType.F32, dims))
    return net.op(Quantize(DType.I8), x, net.builder.constant(np.asarray(0.5, np.float32)))


def fallbacks(graph: Graph) -> set[Reason]:
    placement = place_on_engine(graph)
    rng = np.random.default_rng(0)
    arrays = {v.name: rng.normal(size=v.type.dims).astype(np.float32) * 20 for v in graph.inputs}
    expected, found = interpret(graph, arrays), interpret(placement.graph, arrays)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    return {fallback.reason for fallback in placement.fallbacks}


def test_movement_at_the_edge_stays_on_the_core() -> None:
    net = Network()
    x = net.transpose(quantized_input(net, 1, 6, 9, 7), 0, 2, 3, 1)
    assert fallbacks(net.finish(net.conv(x, 4))) == {Reason.FLOAT, Reason.ON_THE_WAY}


def test_movement_between_layers_goes_to_the_engine() -> None:
    net = Network()
    x = net.conv(quantized_input(net, 1, 9, 7, 6), 4)
    y = net.conv(net.transpose(x, 0, 2, 1, 3), 4)
    assert fallbacks(net.finish(y)) == {Reason.FLOAT}


def test_a_segment_without_products_stays_on_the_core() -> None:
    net = Network()
    x = quantized_input(net, 1, 9, 7, 6)
    assert fallbacks(net.finish(net.add(x, net.table(x)))) == {Reason.FLOAT, Reason.TOO_LITTLE}


def test_sums_share_the_reason_of_their_requantization() -> None:
    net = Network()
    total = net.op(Conv(_window(1)), net.input(2, 5, 5, 3), _weights(net, 1, 1, 3, 4))
    graph = net.finish(net.requantized(total, 3, 127, WHOLE))
    assert [reason for _, reason in select(graph).reasons] == [Reason.BATCH] * 2


def test_sums_that_nobody_requantizes() -> None:
    net = Network()
    graph = net.finish(net.op(Conv(_window(1)), image(net), _weights(net, 1, 1, 6, 4)))
    assert [reason for _, reason in select(graph).reasons] == [Reason.NOT_REQUANTIZED]
