"""Recognizes sigmoid and GELU that a model spells out."""

import math
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Unary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.pattern import (
    argument,
    arguments,
    is_scalar,
    scalar,
    with_scalar,
)


@rule("1 / (1 + exp(-x)) = sigmoid(x)", Unary, Binary)
def sigmoid(op: Op, rewriter: Rewriter) -> Replacement:
    """As a division of one or a reciprocal."""
    if op.kind == Unary(UnaryFunction.RECIPROCAL):
        divisor = op.inputs[0]
    elif op.kind == Binary(BinaryFunction.DIV) and is_scalar(rewriter, op.inputs[0], 1.0):
        divisor = op.inputs[1]
    else:
        return None
    found = with_scalar(rewriter, divisor, BinaryFunction.ADD)
    if found is None or found[1] != 1.0:
        return None
    x = _negated(rewriter, argument(rewriter, found[0], UnaryFunction.EXP))
    if x is None or x.type != op.result.type:
        return None
    return (rewriter.emit(Unary(UnaryFunction.SIGMOID), x),)


def _negated(rewriter: Rewriter, value: Value | None) -> Value | None:
    x = argument(rewriter, value, UnaryFunction.NEG)
    if x is not None:
        return x
    found = with_scalar(rewriter, value, BinaryFunction.MUL)
    return found[0] if found is not None and found[1] == -1.0 else None


@rule("0.5 * x * (1 + erf(x / sqrt 2)) = gelu(x)", Binary)
def gelu(op: Op, rewriter: Rewriter) -> Replacement:
    """The three factors in any order and grouping."""
    if op.kind != Binary(BinaryFunction.MUL):
        return None
    factors = [f for v in op.inputs for f in _factors(rewriter, v)]
    for bell in factors:
        x = _erf_argument(rewriter, bell)
        if x is None or x.type != op.result.type:
            continue
        rest = [f for v in op.inputs for f in _factors(rewriter, v, x)]
        rest.remove(bell)
        others = [v for v in rest if scalar(rewriter, v) is None]
        numbers = [n for v in rest if (n := scalar(rewriter, v)) is not None]
        if others == [x] and math.isclose(math.prod(numbers), 0.5, rel_tol=1e-4):
            return (rewriter.emit(Unary(UnaryFunction.GELU), x),)
    return None


def _factors(rewriter: Rewriter, value: Value, leaf: Value | None = None) -> list[Value]:
    """What two levels of products multiply; `leaf` is not taken apart."""
    found = None if value == leaf else arguments(rewriter, value, BinaryFunction.MUL)
    return [value] if found is None else list(found)


def _erf_argument(rewriter: Rewriter, value: Value) -> Value | None:
    """x if `value` is 1 + erf(x / sqrt 2)."""
    found = with_scalar(rewriter, value, BinaryFunction.ADD)
    if found is None or found[1] != 1.0:
        return None
    scaled = argument(rewriter, found[0], UnaryFunction.ERF)
    quotient = arguments(rewriter, scaled, BinaryFunction.DIV)
    if quotient is not None and is_scalar(rewriter, quotient[1], math.sqrt(2)):
        return quotient[0]
    product = with_scalar(rewriter, scaled, BinaryFunction.MUL)
    if product is not None and math.isclose(product[1], math.sqrt(0.5), rel_tol=1e-4):
        return product[0]
    return None


@dataclass(frozen=True, slots=True)
class RecognizeActivations(Pass):
    """Replaces spelled-out sigmoid and GELU (the exact form, with erf) by the functions.

    Products such as x * sigmoid(x) or hard-swish stay as they are: fusion makes them one op.
    """

    NAME: ClassVar[str] = "recognize-activations"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, (sigmoid, gelu), statistics)
