"""Recognizes softmax and log-softmax that a model spells out."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import ReduceFunction, Softmax
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.pattern import argument, arguments, kept_reduction, quotients


def _shifted(rewriter: Rewriter, value: Value | None, axes: tuple[int, ...]) -> Value | None:
    """x if `value` is x - max(x) over the axes."""
    difference = arguments(rewriter, value, BinaryFunction.SUB)
    if difference is None:
        return None
    x, other = difference
    return x if kept_reduction(rewriter, other, ReduceFunction.MAX) == (x, axes) else None


@rule("exp(x - max(x)) / sum(exp(x - max(x))) = softmax(x)", Binary)
def softmax(op: Op, rewriter: Rewriter) -> Replacement:
    """Division by the sum, or multiplication by its reciprocal."""
    for exponentials, total in quotients(rewriter, op):
        reduced = kept_reduction(rewriter, total, ReduceFunction.SUM)
        if reduced is None or reduced[0] != exponentials or len(reduced[1]) != 1:
            continue
        exponent = argument(rewriter, exponentials, UnaryFunction.EXP)
        x = _shifted(rewriter, exponent, reduced[1])
        if x is not None:
            return (rewriter.emit(Softmax(reduced[1][0]), x),)
    return None


@rule("x - max(x) - log(sum(exp(x - max(x)))) = log_softmax(x)", Binary)
def log_softmax(op: Op, rewriter: Rewriter) -> Replacement:
    """The logarithm of softmax, computed without exponentials that underflow."""
    if op.kind != Binary(BinaryFunction.SUB):
        return None
    shifted, logarithm = op.inputs
    total = argument(rewriter, logarithm, UnaryFunction.LOG)
    reduced = kept_reduction(rewriter, total, ReduceFunction.SUM)
    if reduced is None or len(reduced[1]) != 1:
        return None
    if argument(rewriter, reduced[0], UnaryFunction.EXP) != shifted:
        return None
    x = _shifted(rewriter, shifted, reduced[1])
    return None if x is None else (rewriter.emit(Softmax(reduced[1][0], log=True), x),)


@dataclass(frozen=True, slots=True)
class RecognizeSoftmax(Pass):
    """Replaces spelled-out softmax and log-softmax over one axis by the ops.

    Only forms that subtract the maximum: those without overflow where ours does not.
    """

    NAME: ClassVar[str] = "recognize-softmax"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, (softmax, log_softmax), statistics)
