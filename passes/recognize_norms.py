"""Recognizes layer norm and RMS norm that a model spells out, and takes in their scale and bias."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import ReduceFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.pattern import (
    argument,
    arguments,
    either_order,
    kept_reduction,
    quotients,
    square_of,
    square_root_of,
    with_scalar,
)


@dataclass(frozen=True, slots=True)
class _Normalized:
    """x / sqrt(mean(x^2 over axes) + epsilon)."""

    x: Value
    axes: tuple[int, ...]
    epsilon: float


def _normalized(op: Op, rewriter: Rewriter) -> _Normalized | None:
    for x, divisor in quotients(rewriter, op):
        found = _mean_square(rewriter, x, square_root_of(rewriter, divisor))
        if found is not None:
            return found
    if op.kind == Binary(BinaryFunction.MUL):
        for x, other in either_order((op.inputs[0], op.inputs[1])):
            inside = argument(rewriter, other, UnaryFunction.RSQRT)
            found = _mean_square(rewriter, x, inside)
            if found is not None:
                return found
    return None


def _mean_square(rewriter: Rewriter, x: Value, value: Value | None) -> _Normalized | None:
    """For `value` = mean(x^2) + epsilon over the trailing axes."""
    found = with_scalar(rewriter, value, BinaryFunction.ADD)
    if found is None:
        return None
    mean, epsilon = found
    reduced = kept_reduction(rewriter, mean, ReduceFunction.MEAN)
    if reduced is None or square_of(rewriter, reduced[0]) != x:
        return None
    axes = reduced[1]
    trailing = axes == tuple(range(axes[0], x.type.rank)) if axes else False
    return _Normalized(x, axes, epsilon) if trailing else None


@rule("(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) = layer_norm(x)", Binary)
def layer_norm(op: Op, rewriter: Rewriter) -> Replacement:
    """The mean of squares of what has no mean any more is the variance."""
    found = _normalized(op, rewriter)
    if found is None:
        return None
    difference = arguments(rewriter, found.x, BinaryFunction.SUB)
    if difference is None:
        return None
    x, mean = difference
    if kept_reduction(rewriter, mean, ReduceFunction.MEAN) != (x, found.axes):
        return None
    return (rewriter.emit(LayerNorm(found.axes[0], found.epsilon), x),)


@rule("x / sqrt(mean(x^2) + epsilon) = rms_norm(x)", Binary)
def rms_norm(op: Op, rewriter: Rewriter) -> Replacement:
    """Without subtraction of the mean."""
    found = _normalized(op, rewriter)
    if found is None:
        return None
    return (rewriter.emit(RmsNorm(found.axes[0], found.epsilon), found.x),)


def _parameter(rewriter: Rewriter, value: Value, x: Value, axis: int) -> Value | None:
    """`value` as a parameter of a norm of x: constant, of x's trailing dimensions."""
    array = rewriter.constant_array(value)
    if array is None or array.dtype != x.type.dtype.numpy or array.ndim > x.type.rank:
        return None
    rank = x.type.rank - axis
    lead, shape = array.shape[: max(0, array.ndim - rank)], array.shape[-rank:]
    if any(dim != 1 for dim in lead):
        return None
    return value if not lead else rewriter.constant(array.reshape(shape), name=value.name)


@rule("norm(x) * scale = norm(x, scale)", Binary)
def take_scale(op: Op, rewriter: Rewriter) -> Replacement:
    """A norm without parameters that only the product reads takes the scale in."""
    if op.kind != Binary(BinaryFunction.MUL):
        return None
    for normalized, other in either_order((op.inputs[0], op.inputs[1])):
        found = rewriter.match(normalized, OpKind)
        if found is None or not rewriter.has_single_use(normalized):
            continue
        kind, norm = found
        if not isinstance(kind, (LayerNorm, RmsNorm)) or len(norm.inputs) != 1:
            continue
        scale = _parameter(rewriter, other, norm.inputs[0], kind.axis)
        if scale is not None:
            return (rewriter.emit(kind, norm.inputs[0], scale),)
    return None


@rule("layer_norm(x, scale) + bias = layer_norm(x, scale, bias)", Binary)
def take_bias(op: Op, rewriter: Rewriter) -> Replacement:
    """A layer norm without bias that only the sum reads takes the bias in."""
    if op.kind != Binary(BinaryFunction.ADD):
        return None
    for normalized, other in either_order((op.inputs[0], op.inputs[1])):
        found = rewriter.match(normalized, LayerNorm)
        if found is None or not rewriter.has_single_use(normalized):
            continue
        x, *parameters = found[1].operands
        if x is None or len(parameters) > 1:
            continue
        bias = _parameter(rewriter, other, x, found[0].axis)
        if bias is not None:
            scale = parameters[0] if parameters else None
            return (rewriter.emit(found[0], x, scale, bias),)
    return None


RULES: tuple[Rule, ...] = (layer_norm, rms_norm, take_scale, take_bias)


@dataclass(frozen=True, slots=True)
class RecognizeNorms(Pass):
    """Replaces spelled-out layer norms and RMS norms over trailing axes by the ops.

    The root may be a division, a product by a reciprocal or by rsqrt; constant scales and biases of
    the normalized dimensions become operands.
    """

    NAME: ClassVar[str] = "recognize-norms"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, RULES, statistics)
