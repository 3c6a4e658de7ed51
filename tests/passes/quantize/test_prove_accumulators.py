"""The overflow proof: exact at its limit, for every kind of contraction, naming every layer."""

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.prove_accumulators import ProveAccumulators, contraction_bound

I8, I16, I32 = np.int8, np.int16, np.int32


def bound(kind: OpKind, x: TensorType, weights: Array | TensorType, bias: Array | None) -> int:
    """The proof's bound for one contraction."""
    builder = GraphBuilder("g")
    operands: list[Value | None] = [builder.input("x", x)]
    if isinstance(weights, TensorType):
        operands.append(builder.input("w", weights))
    else:
        operands.append(builder.constant(weights))
    if bias is not None:
        operands.append(builder.constant(bias))
    y = builder.emit(kind, *operands)
    graph = builder.finish([y], ["y"])
    found = contraction_bound(graph.ops[-1], graph.producers())
    assert found is not None
    return found


@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_bound_of_a_product_is_reached(zero_point: int) -> None:
    rng = np.random.default_rng(zero_point + 200)
    weights = rng.integers(-128, 128, (40, 1)).astype(I8)
    # One sign, so that one input is the worst for all.
    weights = np.abs(weights.astype(I16)).clip(0, 127).astype(I8)
    kind = MatMul(lhs_zero_point=zero_point)
    got = bound(kind, TensorType(DType.I8, (1, 40)), weights, None)
    extremes = [np.full((1, 40), value, I8) for value in (-128, 127)]
    reached = max(abs(int(kind.evaluate([x, weights])[0].item())) for x in extremes)
    assert got == reached


def test_bias_counts_by_channel() -> None:
    window = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
    weights = np.array([[[[100, 1]]]], I8)
    x = TensorType(DType.I8, (1, 2, 2, 1))
    bias = np.array([0, 50_000], I32)
    assert bound(Conv(window), x, weights, bias) == max(100 * 128, 128 + 50_000)


def test_groups_of_a_transposed_convolution_are_summed_apart() -> None:
    window = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
    weights = np.array([[[[3], [5]]]], I8)
    x = TensorType(DType.I8, (1, 2, 2, 2))
    assert bound(ConvTranspose(window, (0, 0), 1), x, weights, None) == 8 * 128
    assert bound(ConvTranspose(window, (0, 0), 2), x, weights, None) == 5 * 128


def test_product_of_activations_counts_its_depth() -> None:
    lhs, rhs = TensorType(DType.I8, (3, 7)), TensorType(DType.I8, (7, 5))
    assert bound(MatMul(-128, 127), lhs, rhs, None) == 7 * 255 * 255


def _layers(*magnitudes: int) -> Graph:
    builder = GraphBuilder("g")
    x = builder.input("x", TensorType(DType.I16, (1, 2)))
    results = []
    for index, magnitude in enumerate(magnitudes):
        weights = builder.constant(np.full((2, 1), magnitude, I16))
        location = Location((f"layer {index}",))
        results.append(builder.emit(MatMul(), x, weights, location=location))
    return builder.finish(results, [f"y{i}" for i in range(len(results))])


def test_every_layer_that_overflows_is_named() -> None:
    # 2 * 32768 * 32768 = 2^31 is the first bound that is too large.
    with pytest.raises(Refused) as refusal:
        ProveAccumulators().run(_layers(100, -32768, 32767, -32768), Statistics())
    assert [d.node for d in refusal.value.diagnostics] == ["layer 1", "layer 3"]
    assert "2147483648" in str(refusal.value)


def test_limit_is_exact() -> None:
    weights, room = np.full((2, 1), 32767, I16), 2**31 - 1 - 2 * 32767 * 32768
    for extra in (0, 1):
        builder = GraphBuilder("g")
        x = builder.input("x", TensorType(DType.I16, (1, 2)))
        bias = builder.constant(np.array([-room - extra], I32))
        y = builder.emit(MatMul(), x, builder.constant(weights), bias)
        graph = builder.finish([y], ["y"])
        if extra:
            with pytest.raises(Refused):
                ProveAccumulators().run(graph, Statistics())
        else:
            assert ProveAccumulators().run(graph, Statistics()) == graph


def test_differences_of_bytes_are_no_wider_than_they_are() -> None:
    builder = GraphBuilder("g")
    x = builder.input("x", TensorType(DType.U8, (2, 3)))
    zero = builder.input("z", TensorType(DType.U8, ()))
    wide, offset = (builder.emit(Cast(DType.I16), value) for value in (x, zero))
    centered = builder.emit(Binary(BinaryFunction.SUB), wide, offset)
    weights = builder.constant(np.ones((3, 1), I8))
    y = builder.emit(MatMul(), centered, weights)
    graph = builder.finish([y], ["y"])
    assert contraction_bound(graph.ops[-1], graph.producers()) == 3 * 255
