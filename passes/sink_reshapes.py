"""Reshape sinking: moves reshapes below pointwise ops, so that they meet and leave chains whole.

Squeezes and flattens between an anchor and the functions of its result would keep them apart; below
them they are views, which cost nothing, and two that meet are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Requantize, Table
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.reduce import Reduce, reduced_shape
from lepton_cc.ir.ops.wide_functions import InterpolatedTable
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass

_INTEGER = (Requantize, QuantizedAdd, QuantizedMul)


@rule("f(reshape(x)) = reshape(f(x))", Unary, Clamp, Cast, Table, InterpolatedTable)
def sink_below_function(op: Op, rewriter: Rewriter) -> Replacement:
    """For functions of one operand."""
    found = rewriter.match(op.operands[0], Reshape)
    if found is None or not _may_sink(found[1], rewriter):
        return None
    computed = rewriter.emit(op.kind, found[1].inputs[0], name=op.result.name)
    return (rewriter.emit(Reshape(found[0].shape), computed),)


def _may_sink(reshape: Op, rewriter: Rewriter) -> bool:
    """True for squeezes, and for regroupings between a value and its only reader.

    A regrouping of a value that must exist anyway is a view there, but index arithmetic between
    two ops of one kernel.
    """
    (x,) = reshape.inputs
    if not x.type.is_static:
        return False
    squeezes = _wide(x.type.dims) == _wide(reshape.result.type.dims)
    return squeezes or (rewriter.has_single_use(x) and rewriter.has_single_use(reshape.result))


def _wide(dims: Sequence[int]) -> list[int]:
    return [dim for dim in dims if dim != 1]


@rule("f(reshape(x), reshape(y), c) = reshape(f(x, y, c))", Binary, Select, *_INTEGER)
def sink_below_operands(op: Op, rewriter: Rewriter) -> Replacement:
    """Of operands that are as large as the result, and constants that fit their shape before."""
    shape = _common_source(op, rewriter)
    if shape is None:
        return None
    operands = [_in_shape(v, shape, op, rewriter) for v in op.inputs]
    if any(operand is None for operand in operands):
        return None
    computed = rewriter.emit(op.kind, *operands, name=op.result.name)
    return (rewriter.emit(Reshape(op.result.type.dims), computed),)


def _common_source(op: Op, rewriter: Rewriter) -> tuple[int, ...] | None:
    """The shape that all reshaped operands of the result's shape had before."""
    if not op.result.type.is_static:
        return None
    sources = set()
    for value in op.inputs:
        found = rewriter.match(value, Reshape)
        if (
            found is not None
            and value.type.shape == op.result.type.shape
            and _may_sink(found[1], rewriter)
        ):
            sources.add(found[1].inputs[0].type.dims)
    return sources.pop() if len(sources) == 1 else None


def _in_shape(value: Value, shape: tuple[int, ...], op: Op, rewriter: Rewriter) -> Value | None:
    """The operand for an op on `shape`; None if there is none without moving elements."""
    target = op.result.type.dims
    if value.type.shape == target:
        found = rewriter.match(value, Reshape)
        if found is not None and found[1].inputs[0].type.shape == shape:
            return found[1].inputs[0]
    array = rewriter.constant_array(value)
    if array is None:
        return None
    if array.size == 1 and array.ndim <= len(shape):
        return value
    fitted = shape if array.shape == target else _unsqueezed(array.shape, target, shape)
    return None if fitted is None else rewriter.constant(array.reshape(fitted), name=value.name)


def _unsqueezed(
    dims: Sequence[int], target: tuple[int, ...], source: tuple[int, ...]
) -> tuple[int, ...] | None:
    """`dims`, which broadcast to `target`, as dims that broadcast alike to `source`.

    None unless both shapes are the same but for dimensions of size 1.
    """
    if _wide(target) != _wide(source):
        return None
    padded = (1,) * (len(target) - len(dims)) + tuple(dims)
    kept = iter([own for own, dim in zip(padded, target, strict=True) if dim != 1])
    return tuple(1 if dim == 1 else next(kept) for dim in source)


@rule("reshape(reduce(x) without its axes) = reduce(x) with its axes kept", Reshape)
def keep_reduced_axes(op: Op, rewriter: Rewriter) -> Replacement:
    """Where the reshape only puts back the dimensions that the reduction dropped."""
    found = rewriter.match(op.operands[0], Reduce)
    if found is None or found[0].keep_dims or not rewriter.has_single_use(op.inputs[0]):
        return None
    reduction, (x,) = found[0], found[1].inputs
    if op.result.type.shape != reduced_shape(x.type.shape, reduction.axes, keep=True):
        return None
    return (rewriter.emit(Reduce(reduction.function, reduction.axes, keep_dims=True), x),)


@dataclass(frozen=True, slots=True)
class SinkReshapes(Pass):
    """Moves reshapes below the pointwise ops that read them; no element moves.

    Accepts any graph. Constants are reshaped along; other operands must come through a reshape from
    the same shape. Run it before recognition and fusion, and canonicalize after it.
    """

    NAME: ClassVar[str] = "sink-reshapes"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        rules = (sink_below_function, sink_below_operands, keep_reduced_axes)
        return rewrite(graph, rules, statistics)
