"""Writing a whole tensor: the loops of ops whose every result element is a source's element."""

from collections.abc import Callable, Sequence

from lepton_cc.codegen.kernel.affine import coefficient
from lepton_cc.codegen.kernel.expr import Expr, Load, Var, index
from lepton_cc.codegen.kernel.ir import Block
from lepton_cc.codegen.kernel.schedule import Body, nest, pieces, vectorized
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.source import Index, Source, linearize
from lepton_cc.ir.types import TensorType

# Short loops are left alone: below this many elements threads cost more than they give.
_PARALLEL_ELEMENTS = 16384
# What a thread takes at least of a flat loop: whole vectors and cache lines of every type.
_PIECE_ELEMENTS = 2048


def store_tensor(context: KernelContext, source: Source) -> Block:
    """Computes every element of the sink's tensor from `source`.

    Sources that know a linear form run as one flat vector loop; others as a nest over the
    dimensions with vectors along the one that suits their reads.
    """
    sink = context.sink
    dims = sink.type.dims
    total = sink.type.num_elements
    if total == 0:
        return ()
    if source.linear is not None or len(dims) <= 1:

        def flat(number: Expr) -> Block:
            return (sink.store_linear(number, (number,), source.at_linear(number)),)

        return _flat_vectors(context, total, flat)
    return store_elements(context, source, lambda at: linearize(at, dims))


def _flat_vectors(context: KernelContext, total: int, body: Body) -> Block:
    """A vector loop over all elements, in pieces that threads may share."""
    lanes, names = context.lanes(context.sink.type.dtype), context.names
    if total < 2 * _PIECE_ELEMENTS or not is_worth_threads(context, context.sink.type):
        return vectorized(names, total, lanes, body)
    whole, rest = divmod(total, _PIECE_ELEMENTS)

    def piece(start: Expr, count: int) -> Block:
        return vectorized(names, count, lanes, lambda number: body(start + number))

    return pieces(
        names,
        whole,
        lambda number: piece(number * _PIECE_ELEMENTS, _PIECE_ELEMENTS),
        (lambda: piece(index(whole * _PIECE_ELEMENTS), rest)) if rest else None,
        parallel=True,
    )


def is_worth_threads(context: KernelContext, type_: TensorType) -> bool:
    """Whether the loops over a tensor's elements may be split between threads."""
    return context.options.parallelize and type_.num_elements >= _PARALLEL_ELEMENTS


def store_elements(
    context: KernelContext,
    source: Source,
    number: Callable[[Index], Expr],
    *,
    parallel: bool = True,
) -> Block:
    """Stores each element of `source` at the sink's element `number(index)`.

    With `parallel` the loops may be split between threads, if that is worth it.
    """
    dims, sink = source.type.dims, context.sink
    lanes = context.lanes(sink.type.dtype)
    lane_axis = _lane_axis(source, lanes)
    parallel = parallel and is_worth_threads(context, source.type)

    def row(outer: tuple[Expr, ...]) -> Block:
        def element(along: Expr) -> Block:
            at = (*outer[:lane_axis], along, *outer[lane_axis:])
            return (sink.store_linear(number(at), at, source.at(at)),)

        return vectorized(context.names, dims[lane_axis], lanes, element)

    others = dims[:lane_axis] + dims[lane_axis + 1 :]
    return nest(context.names, others, row, parallel=parallel)


def _lane_axis(source: Source, lanes: int) -> int:
    """The dimension that vectors run along: the one with the least work for an element.

    Arithmetic is shared by the lanes; loads that are neither contiguous nor equal, and stores
    along another dimension than the last, are done lane by lane. Far stores cost more than far
    loads: a transpose that scatters was ten times slower than one that gathers.
    """
    dims = source.type.dims
    last = len(dims) - 1
    if lanes == 1:
        return last
    at = tuple(Var(INDEX, f"axis{axis}") for axis in range(len(dims)))
    parts = _parts(source.at(at))
    loads = [part for part in parts if isinstance(part, Load)]

    def work(axis: int) -> tuple[float, int]:
        gathers = sum(coefficient(load.index, at[axis]) not in (0, 1) for load in loads)
        scatters = 0 if axis == last else 1
        return (len(parts) / min(lanes, dims[axis]) + 2 * gathers + 3 * scatters, last - axis)

    return min((axis for axis in range(len(dims)) if dims[axis] > 1), key=work, default=last)


def _parts(root: Expr) -> tuple[Expr, ...]:
    seen: dict[Expr, None] = {}
    pending = [root]
    while pending:
        expr = pending.pop()
        if expr not in seen:
            seen[expr] = None
            pending.extend(expr.operands())
    return tuple(seen)


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
