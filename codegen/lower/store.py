"""Writing a whole tensor: the loops of ops whose every result element is a source's element."""

from collections.abc import Sequence

from lepton_cc.codegen.kernel.ir import Block, Expr
from lepton_cc.codegen.kernel.schedule import nest, vectorized
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.source import Source, linearize
from lepton_cc.ir.types import TensorType

# Short loops are left alone: below this many elements threads cost more than they give.
_PARALLEL_ELEMENTS = 16384


def store_tensor(context: KernelContext, source: Source) -> Block:
    """Computes every element of the sink's tensor from `source`.

    Sources that know a linear form run as one flat vector loop; others as a nest over the
    dimensions with vectors along the last.
    """
    sink = context.sink
    dims = sink.type.dims
    total = sink.type.num_elements
    lanes = context.lanes(sink.type.dtype)
    if total == 0:
        return ()
    if source.linear is not None or len(dims) <= 1:

        def flat(number: Expr) -> Block:
            return (sink.store_linear(number, (number,), source.at_linear(number)),)

        return vectorized(context.names, total, lanes, flat)
    inner = dims[-1]
    parallel = context.options.parallelize and total >= _PARALLEL_ELEMENTS

    def row(outer: tuple[Expr, ...]) -> Block:
        def element(last: Expr) -> Block:
            at = (*outer, last)
            return (sink.store_linear(linearize(at, dims), at, source.at(at)),)

        return vectorized(context.names, inner, lanes, element)

    return nest(context.names, dims[:-1], row, parallel=parallel)


def collapsed_dims(
    result: TensorType, operands: Sequence[TensorType]
) -> tuple[tuple[int, ...], ...]:
    """Groups of adjacent dimensions of `result` that all operands broadcast alike.

    A pointwise op over the merged dimensions is the same op with fewer, longer loops.
    """
    groups: list[list[int]] = []
    previous: tuple[bool, ...] | None = None
    for axis, dim in enumerate(result.dims):
        pattern = tuple(_follows(operand, axis, result) for operand in operands)
        if dim == 1 and previous is not None:
            pattern = previous
        if groups and pattern == previous:
            groups[-1].append(axis)
        else:
            groups.append([axis])
        previous = pattern
    return tuple(tuple(group) for group in groups)


def _follows(operand: TensorType, axis: int, result: TensorType) -> bool:
    """True if the operand has its own element for every index of a dimension of the result."""
    own = axis - (result.rank - operand.rank)
    return result.dims[axis] == 1 or (own >= 0 and operand.dims[own] == result.dims[axis])
