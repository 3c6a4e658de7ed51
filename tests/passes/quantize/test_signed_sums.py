"""Sums and products of unsigned tensors: signed where all pairs of operands prove it, else not."""

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Range
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers

ALL = np.arange(-128, 128).astype(np.int8)


def unsigned(builder: GraphBuilder, x: Value) -> Value:
    mask = builder.constant(np.asarray(-128, np.int8))
    return builder.emit(Cast(DType.U8), builder.emit(Binary(BinaryFunction.XOR), x, mask))


def all_pairs(kind: QuantizedAdd | QuantizedMul, num_unsigned: int = 2) -> Graph:
    """The op on every pair of operands, the first ones of which are u8 made of i8."""
    builder = GraphBuilder("pairs")
    values = [
        builder.input("x", TensorType(DType.I8, (256, 1))),
        builder.input("y", TensorType(DType.I8, (1, 256))),
    ]
    values[:num_unsigned] = [unsigned(builder, value) for value in values[:num_unsigned]]
    total = builder.emit(kind, *values)
    scale = builder.constant(np.asarray(1.0, np.float32))
    return builder.finish([builder.emit(Dequantize(), total, scale)], ["z"])


def raised_dtype(kind: QuantizedAdd | QuantizedMul, num_unsigned: int = 2) -> DType:
    """Of the op after raising, which must give what it gave."""
    graph = all_pairs(kind, num_unsigned)
    raised = PassManager((RaiseIntegers(),)).run(graph)
    arrays = {"x": ALL[:, None], "y": ALL[None, :]}
    assert np.array_equal(interpret(graph, arrays)["z"], interpret(raised, arrays)["z"])
    (found,) = (op.kind for op in raised.ops if isinstance(op.kind, type(kind)))
    return found.range.dtype


@pytest.mark.parametrize("seed", range(6))
def test_a_random_sum_becomes_signed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lhs, rhs = rng.uniform(0.01, 0.1, 2)
    points = [int(point) for point in rng.integers(0, 256, 3)]
    range_ = Range(DType.U8, points[2], *((0, 255) if seed % 2 else (points[2], 250)))
    scale = float(np.float32(0.7 * (lhs + rhs)))
    sides = ((float(np.float32(lhs)), points[0]), (float(np.float32(rhs)), points[1]))
    assert raised_dtype(QuantizedAdd.of(*sides, scale, range_)) is DType.I8


def test_a_sum_next_to_too_many_ties_stays_unsigned() -> None:
    scales = (0.5905168652534485, 0.5409488081932068)
    kind = QuantizedAdd(*scales, 144.41806030273438, Range.whole(DType.U8, 212))
    assert raised_dtype(kind) is DType.U8


@pytest.mark.parametrize("num_unsigned", [0, 1, 2])
def test_a_product_becomes_signed(num_unsigned: int) -> None:
    points = ((2, -8), (130, -8), (130, 120))[num_unsigned]
    kind = QuantizedMul(points[0], points[1], 0.0078125, Range.whole(DType.U8, 99))
    assert raised_dtype(kind, num_unsigned) is DType.I8


def test_a_product_next_to_a_tie_stays_unsigned() -> None:
    kind = QuantizedMul(101, -65, 0.009013979695737362, Range.whole(DType.U8, 193))
    assert raised_dtype(kind, 0) is DType.U8
