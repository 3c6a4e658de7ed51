"""Laws of reductions and pools over single elements."""

from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, kind_of, rule, same_type


@rule("reduce(x) over axes of size 1 = reshape(x)", Reduce)
def reduction_of_units(op: Op, rewriter: Rewriter) -> Replacement:
    """Sums and means of floats start from 0.0, so that they turn -0.0 into 0.0; they stay."""
    kind = kind_of(op, Reduce)
    (x,) = op.inputs
    if any(x.type.dims[axis] != 1 for axis in kind.axes):
        return None
    if x.type.dtype.is_float and kind.function in (ReduceFunction.SUM, ReduceFunction.MEAN):
        return None
    return same_type(op, rewriter.emit(Reshape(op.result.type.dims), x))


@rule("reduce(x) over a, b = reshape(reduce(x) over a) where b has size 1", Reduce)
def partial_reduction_of_units(op: Op, rewriter: Rewriter) -> Replacement:
    kind = kind_of(op, Reduce)
    (x,) = op.inputs
    axes = tuple(axis for axis in kind.axes if x.type.dims[axis] != 1)
    if not axes or axes == kind.axes:
        return None
    reduced = rewriter.emit(Reduce(kind.function, axes, keep_dims=True), x)
    return same_type(op, rewriter.emit(Reshape(op.result.type.dims), reduced))


@rule("max_pool(x) over single elements = x", MaxPool)
def pool_of_units(op: Op, rewriter: Rewriter) -> Replacement:
    """An average pool sums from 0.0, which is no identity of -0.0."""
    window = kind_of(op, MaxPool).window
    if any((*window.low, *window.high)) or set(window.size) | set(window.strides) != {1}:
        return None
    return same_type(op, op.inputs[0])


RULES: tuple[Rule, ...] = (reduction_of_units, partial_reduction_of_units, pool_of_units)
