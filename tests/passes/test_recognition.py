"""Recognizers: every spelling is found, what is no such function stays, the numbers stay."""

from collections.abc import Callable

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.elementwise import Binary, Cast, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.catalogue import PASSES
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.pipeline_text import parse_pipeline
from lepton_cc.passes.recognize_one_hot import RecognizeOneHot

PIPELINE = (
    "(sink-reshapes,fold-constants,canonicalize,eliminate-common-subexpressions)*,"
    "recognize-softmax,recognize-norms,recognize-activations,recognize-bias"
)
SHAPE = (3, 4, 8)


class Speller:
    """Spells out a function of one input, op by op."""

    def __init__(self) -> None:
        self.builder = GraphBuilder("spelled")
        self.x = self.builder.input("x", TensorType(DType.F32, SHAPE))

    def unary(self, function: U, x: Value) -> Value:
        return self.builder.emit(Unary(function), x)

    def binary(self, function: B, x: Value, y: Value | float) -> Value:
        other = y if isinstance(y, Value) else self.builder.constant(np.asarray(y, np.float32))
        return self.builder.emit(Binary(function), x, other)

    def reduce(self, function: ReduceFunction, x: Value, *, keep: bool = True) -> Value:
        reduced = self.builder.emit(Reduce(function, (2,), keep_dims=keep), x)
        return reduced if keep else self.builder.emit(Reshape((3, 4, 1)), reduced)

    def graph(self, y: Value) -> Graph:
        return self.builder.finish([y], ["y"])


def softmax_by_division(s: Speller) -> Value:
    shifted = s.binary(B.SUB, s.x, s.reduce(ReduceFunction.MAX, s.x, keep=False))
    e = s.unary(U.EXP, shifted)
    return s.binary(B.DIV, e, s.reduce(ReduceFunction.SUM, e, keep=False))


def softmax_by_reciprocal(s: Speller) -> Value:
    e = s.unary(U.EXP, s.binary(B.SUB, s.x, s.reduce(ReduceFunction.MAX, s.x)))
    inverse = s.unary(U.RECIPROCAL, s.reduce(ReduceFunction.SUM, e))
    return s.binary(B.MUL, inverse, e)


def softmax_without_maximum(s: Speller) -> Value:
    e = s.unary(U.EXP, s.x)
    return s.binary(B.DIV, e, s.reduce(ReduceFunction.SUM, e))


def _variance(s: Speller, centered: Value, power: bool) -> Value:
    squared = s.binary(B.POW, centered, 2.0) if power else s.binary(B.MUL, centered, centered)
    return s.binary(B.ADD, s.reduce(ReduceFunction.MEAN, squared), 1e-5)


def layer_norm_of_pytorch(s: Speller) -> Value:
    centered = s.binary(B.SUB, s.x, s.reduce(ReduceFunction.MEAN, s.x))
    deviation = s.unary(U.SQRT, _variance(s, centered, power=True))
    normal = s.binary(B.DIV, centered, deviation)
    scale, bias = (s.builder.constant(np.arange(8, dtype=np.float32) + i) for i in (1, 2))
    return s.binary(B.ADD, s.binary(B.MUL, normal, scale), bias)


def layer_norm_by_rsqrt(s: Speller) -> Value:
    centered = s.binary(B.SUB, s.x, s.reduce(ReduceFunction.MEAN, s.x))
    root = s.binary(B.POW, _variance(s, centered, power=False), 0.5)
    return s.binary(B.MUL, s.unary(U.RECIPROCAL, root), centered)


def rms_norm(s: Speller) -> Value:
    inverse = s.unary(U.RSQRT, _variance(s, s.x, power=True))
    scale = s.builder.constant(np.arange(8, dtype=np.float32))
    return s.binary(B.MUL, scale, s.binary(B.MUL, s.x, inverse))


def variance_of_something_else(s: Speller) -> Value:
    other = s.unary(U.ABS, s.x)
    return s.binary(B.DIV, s.x, s.unary(U.SQRT, _variance(s, other, power=False)))


def sigmoid(s: Speller) -> Value:
    e = s.unary(U.EXP, s.binary(B.MUL, s.x, -1.0))
    divisor = s.binary(B.ADD, e, 1.0)
    return s.binary(B.DIV, s.builder.constant(np.asarray(1, np.float32)), divisor)


def _bell(s: Speller, scaled: Value) -> Value:
    return s.binary(B.ADD, s.unary(U.ERF, scaled), 1.0)


def gelu_of_pytorch(s: Speller) -> Value:
    bell = _bell(s, s.binary(B.DIV, s.x, 2**0.5))
    return s.binary(B.MUL, s.binary(B.MUL, s.x, bell), 0.5)


def gelu_of_keras(s: Speller) -> Value:
    bell = _bell(s, s.binary(B.MUL, s.x, 0.70710677))
    return s.binary(B.MUL, s.binary(B.MUL, s.x, 0.5), bell)


def gelu_of_another_width(s: Speller) -> Value:
    bell = _bell(s, s.binary(B.DIV, s.x, 1.5))
    return s.binary(B.MUL, s.binary(B.MUL, s.x, 0.5), bell)


@pytest.mark.parametrize(
    ("spell", "ops"),
    [
        (softmax_by_division, ["softmax"]),
        (softmax_by_reciprocal, ["softmax"]),
        (softmax_without_maximum, None),
        (layer_norm_of_pytorch, ["constant", "constant", "layer_norm"]),
        (layer_norm_by_rsqrt, ["layer_norm"]),
        (rms_norm, ["constant", "rms_norm"]),
        (variance_of_something_else, None),
        (sigmoid, ["sigmoid"]),
        (gelu_of_pytorch, ["gelu"]),
        (gelu_of_keras, ["gelu"]),
        (gelu_of_another_width, None),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_recognized(spell: Callable[[Speller], Value], ops: list[str] | None) -> None:
    speller = Speller()
    graph = speller.graph(spell(speller))
    after = PassManager(parse_pipeline(PIPELINE, PASSES)).run(graph)
    mnemonics = [op.kind.mnemonic for op in after.ops]
    if ops is None:
        assert not {"softmax", "layer_norm", "rms_norm", "gelu"} & set(mnemonics)
    else:
        assert mnemonics == ops
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    expected, got = interpret(graph, {"x": x})["y"], interpret(after, {"x": x})["y"]
    np.testing.assert_allclose(
        got.astype(np.float64), expected.astype(np.float64), rtol=3e-6, atol=3e-6
    )


@pytest.mark.parametrize("biased", [False, True])
def test_one_hot_product_picks_rows(biased: bool) -> None:
    """Indices in the table, at its ends, and outside of it on both sides."""
    builder = GraphBuilder("one_hot")
    rng = np.random.default_rng(0)
    indices = builder.input("i", TensorType(DType.I32, (2, 4, 1)))
    places = builder.constant(np.arange(5, dtype=np.int32))
    hot = builder.emit(Cast(DType.F32), builder.emit(Binary(B.EQUAL), indices, places))
    table = builder.constant(rng.normal(size=(5, 3)).astype(np.float32))
    bias = builder.constant(rng.normal(size=3).astype(np.float32)) if biased else None
    y = builder.emit(MatMul(), hot, table, bias)
    graph = builder.finish([y], ["y"])
    after = RecognizeOneHot().run(graph, Statistics())
    assert "matmul" not in [op.kind.mnemonic for op in after.ops]
    given = np.asarray([[0, 4, 5, 9], [-1, -2, -9, 2]], np.int32).reshape(2, 4, 1)
    expected, got = interpret(graph, {"i": given})["y"], interpret(after, {"i": given})["y"]
    np.testing.assert_array_equal(got, expected)
