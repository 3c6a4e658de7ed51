"""Fusion: what becomes one packet, what must not, and that both give the same bytes."""

import numpy as np
import pytest

from lepton_cc.codegen.npu.fuse import fuse_layers
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.layers import ConvLayer, Layer
from lepton_cc.codegen.npu.select import select
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.integer import Range
from lepton_cc.ir.ops.window import Window
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network


def fused(net: Network, *outputs: Value, separable: bool = True) -> tuple[Layer, ...]:
    """The layers after fusion; the graph also gives the interpreter's bytes on an engine."""
    graph = net.finish(*outputs)
    assert_runs_as_interpreted(graph, machine_of(256))
    return layers_of(graph, separable=separable)


def layers_of(graph: Graph, *, separable: bool = True) -> tuple[Layer, ...]:
    return fuse_layers(select(graph).layers, graph.outputs, lambda *_: separable)


def convolutions(layers: tuple[Layer, ...]) -> list[ConvLayer]:
    found = [layer for layer in layers if isinstance(layer, ConvLayer)]
    assert len(found) == len(layers)
    return found


@pytest.mark.parametrize("first", [False, True])
def test_a_residual_in_both_orders(first: bool) -> None:
    net = Network()
    x = net.input(1, 8, 7, 6)
    y = net.conv(x, 6)
    (conv,) = convolutions(fused(net, net.add(x, y) if first else net.add(y, x)))
    assert conv.residual is not None
    assert (conv.residual.value, conv.residual.first) == (x, first)


def test_the_later_of_two_convolutions_takes_the_sum() -> None:
    net = Network()
    x = net.input(1, 8, 7, 6)
    early, late = net.conv(x, 6), net.conv(x, 6)
    first, second = convolutions(fused(net, net.add(late, early)))
    assert first.residual is None
    assert second.residual is not None
    assert second.residual.value == early


def test_a_sum_with_a_table_behind_it() -> None:
    net = Network()
    x = net.input(1, 8, 7, 6)
    (conv,) = convolutions(fused(net, net.table(net.add(net.conv(x, 6), x))))
    assert conv.residual is not None
    assert conv.table is not None


def test_a_table_before_the_sum_keeps_it_apart() -> None:
    net = Network()
    x = net.input(1, 8, 7, 6)
    layers = fused(net, net.add(net.table(net.conv(x, 6)), x))
    assert [type(layer).__name__ for layer in layers] == ["ConvLayer", "ElementwiseLayer"]


def test_a_sum_of_a_value_with_itself_stays() -> None:
    net = Network()
    y = net.conv(net.input(1, 8, 7, 6), 6)
    assert len(fused(net, net.add(y, y))) == 2


def test_a_broadcast_sum_stays() -> None:
    net = Network()
    y = net.conv(net.input(1, 8, 7, 6), 6)
    assert len(fused(net, net.add(y, net.input(1, 1, 1, 6)))) == 2


def test_an_operand_made_behind_the_convolution() -> None:
    """The sum cannot run where the convolution stood; it joins the one that comes later."""
    net = Network()
    x = net.input(1, 8, 7, 6)
    y = net.conv(x, 6)
    z = net.table(net.max_pool(x, 3, 1, 1))
    assert [type(layer).__name__ for layer in fused(net, net.add(y, z))] == [
        "ConvLayer",
        "PoolLayer",
        "ElementwiseLayer",
    ]


def test_a_value_that_is_read_twice_is_stored() -> None:
    net = Network()
    x = net.input(1, 8, 7, 6)
    y = net.conv(x, 6)
    assert len(fused(net, net.add(net.add(y, x), net.max_pool(y, 3, 1, 1)))) == 4


@pytest.mark.parametrize("kind", ["sum", "table", "pool", "separable"])
def test_an_output_is_stored(kind: str) -> None:
    net = Network()
    x = net.input(1, 8, 6, 6)
    y = net.depthwise(x) if kind == "separable" else net.conv(x, 6)
    makes = {
        "sum": lambda: net.add(y, x),
        "table": lambda: net.table(y),
        "pool": lambda: net.max_pool(y),
        "separable": lambda: net.conv(y, 9, (1, 1)),
    }
    assert len(fused(net, makes[kind](), y)) == 2


def test_a_second_table_stays() -> None:
    net = Network()
    layers = fused(net, net.table(net.table(net.conv(net.input(1, 8, 7, 6), 6))))
    assert [type(layer).__name__ for layer in layers] == ["ConvLayer", "TableLayer"]


@pytest.mark.parametrize("make", ["matmul", "elementwise", "pool"])
def test_a_table_joins_other_layers(make: str) -> None:
    net = Network()
    x = net.input(1, 8, 6, 6)
    makes = {
        "matmul": lambda: net.product(net.input(2, 5, 4), net.input(2, 4, 3)),
        "elementwise": lambda: net.mul(x, x),
        "pool": lambda: net.max_pool(x),
    }
    assert len(fused(net, net.table(makes[make]()))) == 1


@pytest.mark.parametrize("sides", [(8, 6), (9, 7)])
def test_a_pool_of_two_by_two(sides: tuple[int, int]) -> None:
    net = Network()
    (conv,) = convolutions(fused(net, net.max_pool(net.conv(net.input(1, *sides, 6), 5))))
    assert conv.pool
    assert (conv.computed.height, conv.computed.width) == (8, 6)


def test_a_pool_of_what_a_table_made() -> None:
    net = Network()
    y = net.table(net.conv(net.input(1, 8, 6, 6), 5))
    (conv,) = convolutions(fused(net, net.max_pool(y)))
    assert conv.pool
    assert conv.table is not None


@pytest.mark.parametrize(("size", "stride", "pad"), [(3, 2, 0), (2, 1, 0), (2, 2, 1)])
def test_other_pools_stay(size: int, stride: int, pad: int) -> None:
    net = Network()
    y = net.conv(net.input(1, 8, 6, 6), 5)
    assert len(fused(net, net.max_pool(y, size, stride, pad))) == 2


def test_a_pool_of_a_sum_stays() -> None:
    net = Network()
    x = net.input(1, 8, 6, 6)
    assert len(fused(net, net.max_pool(net.add(net.conv(x, 6), x)))) == 2


def test_a_table_behind_a_fused_pool_stays() -> None:
    net = Network()
    y = net.table(net.max_pool(net.conv(net.input(1, 8, 6, 6), 5)))
    layers = fused(net, y)
    assert len(layers) <= 2


def test_a_separable_layer() -> None:
    net = Network()
    y = net.conv(net.depthwise(net.input(1, 8, 7, 6), stride=2), 9, (1, 1))
    (conv,) = convolutions(fused(net, y))
    assert conv.stage is not None
    assert conv.window.stride == (2, 2)
    assert len(fused(net, y, separable=False)) == 2


def test_a_separable_layer_has_one_zero_point_between_its_stages() -> None:
    net = Network()
    made = Range.whole(DType.I8, 5)
    y = net.conv(net.input(1, 8, 7, 6), 6, groups=6, result=made)
    window = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
    weights = net.builder.constant(net.rng.integers(-128, 128, (1, 1, 6, 9)).astype(np.int8))
    total = net.op(Conv(window, 1, zero_point=6), y, weights)
    assert len(fused(net, net.requantized(total, 6, 127, made))) == 2


@pytest.mark.parametrize("between", ["table", "3x3", "pool"])
def test_what_is_not_separable(between: str) -> None:
    net = Network()
    y = net.depthwise(net.input(1, 8, 6, 6))
    kernel = (3, 3) if between == "3x3" else (1, 1)
    y = net.table(y) if between == "table" else net.max_pool(y) if between == "pool" else y
    assert len(fused(net, net.conv(y, 9, kernel))) == 2


def test_the_engine_has_a_packet_for_separable_layers() -> None:
    net = Network()
    y = net.conv(net.depthwise(net.input(1, 16, 16, 16)), 16, (1, 1))
    segment = assert_runs_as_interpreted(net.finish(y), machine_of(256))
    assert Opcode.SEPARABLE in {packet.opcode for packet in segment.packets}
