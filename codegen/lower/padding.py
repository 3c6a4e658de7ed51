"""Writing a padded tensor: fill around, copy inside; no element asks where it is."""

import math

from lepton_cc.codegen.kernel.expr import Expr, index
from lepton_cc.codegen.kernel.ir import Block, If
from lepton_cc.codegen.kernel.schedule import loop, nest, vectorized
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.source import Index, Source, linearize
from lepton_cc.codegen.lower.store import is_worth_threads, store_elements
from lepton_cc.ir.ops.movement import Pad


def store_padded(context: KernelContext, kind: Pad, x: Source, fill: Expr) -> Block:
    """Stores `x` with `fill` around it; the dimensions behind the last padded one join it."""
    if x.linear is None and x.type.rank > 1:
        return _fill_and_copy(context, kind, x, fill)
    padded = [axis for axis, both in enumerate(zip(kind.low, kind.high, strict=True)) if any(both)]
    last = padded[-1] if padded else 0
    run = math.prod(x.type.dims[last + 1 :])
    scale = (1,) * last + (run,)
    dims, low, high = (
        tuple(size * factor for size, factor in zip(values, scale, strict=False))
        for values in (x.type.dims, kind.low, kind.high)
    )
    return _Padding(context, x, fill, (dims, low, high)).level(0, index(0), index(0))


def _fill_and_copy(context: KernelContext, kind: Pad, x: Source, fill: Expr) -> Block:
    """Fills a slice, then stores the elements inside in the order that suits their reads.

    Slices are those of the first dimension that is more than one; threads may share them.
    """
    sink, dims = context.sink, context.sink.type.dims
    axis = next((axis for axis, dim in enumerate(dims[:-1]) if dim > 1), 0)
    below = math.prod(dims[axis + 1 :])
    first, count = kind.low[axis], x.type.dims[axis]

    def slice_(position: Expr) -> Block:
        start = position * below

        def filled(number: Expr) -> Block:
            return (sink.store_linear(start + number, (start + number,), fill),)

        def outer(inside: Expr) -> Index:
            return (*(index(0),) * axis, inside)

        def number(at: Index) -> Expr:
            moved = (i + low for i, low in zip(at, kind.low[axis + 1 :], strict=True))
            return linearize((*outer(position), *moved), dims)

        around = vectorized(context.names, below, context.lanes(sink.type.dtype), filled)
        row = Source(
            x.type.with_shape(x.type.dims[axis + 1 :]),
            lambda at: x.at((*outer(position - first), *at)),
        )
        copied: Block = ()
        if x.type.num_elements:
            copied = store_elements(context, row, number, parallel=False)
        if count == dims[axis]:
            return around + copied
        within = If(position >= first, (If(position < first + count, copied),))
        return (*around, within)

    parallel = is_worth_threads(context, sink.type)
    return nest(context.names, (dims[axis],), lambda at: slice_(at[0]), parallel=parallel)


class _Padding:
    """The nested loops: `level` writes everything below one position of the outer dimensions."""

    def __init__(
        self,
        context: KernelContext,
        x: Source,
        fill: Expr,
        shape: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    ) -> None:
        self._context, self._x, self._fill = context, x, fill
        self._dims, self._low, self._high = shape
        self._lanes = context.lanes(context.sink.type.dtype)

    def level(self, axis: int, read: Expr, written: Expr) -> Block:
        """`read`, `written`: the number of the position among those of the outer dimensions."""
        dim, low, high = self._dims[axis], self._low[axis], self._high[axis]
        below = math.prod(
            d + lo + hi
            for d, lo, hi in zip(
                self._dims[axis + 1 :], self._low[axis + 1 :], self._high[axis + 1 :], strict=True
            )
        )
        start = written * (dim + low + high)
        before = self._filled(start * below, low * below)
        after = self._filled((start + (low + dim)) * below, high * below)
        if axis == len(self._dims) - 1:
            return before + self._copied(read * dim, start + low, dim) + after
        names = self._context.names
        inside = loop(
            names, "i", 0, dim, lambda i: self.level(axis + 1, read * dim + i, start + (i + low))
        )
        return before + inside + after

    def _filled(self, start: Expr, count: int) -> Block:
        sink = self._context.sink

        def element(offset: Expr) -> Block:
            at = start + offset
            return (sink.store_linear(at, (at,), self._fill),)

        return vectorized(self._context.names, count, self._lanes, element)

    def _copied(self, read: Expr, written: Expr, count: int) -> Block:
        sink = self._context.sink

        def element(offset: Expr) -> Block:
            at = written + offset
            return (sink.store_linear(at, (at,), self._x.at_linear(read + offset)),)

        return vectorized(self._context.names, count, self._lanes, element)
