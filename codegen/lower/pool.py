"""Lowering of max and average pools: lanes along the channels, taps outside the input left out."""

from collections.abc import Callable

from lepton_cc.codegen.kernel.expr import Const, Expr, index, load, maximum, minimum
from lepton_cc.codegen.kernel.ir import Block, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, nest
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.reduce import combiner
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.ops.pool import AveragePool, MaxPool, lowest
from lepton_cc.ir.ops.reduce import ReduceFunction
from lepton_cc.ir.ops.window import Window


def lower_max_pool(context: KernelContext) -> Block:
    """Lowers MaxPool."""
    kind = context.op.kind
    assert isinstance(kind, MaxPool)
    dtype = context.source(0).type.dtype
    combine = combiner(ReduceFunction.MAX, dtype)
    return _pool(context, kind.window, lowest(dtype), combine, lambda total, at: total)


def lower_average_pool(context: KernelContext) -> Block:
    """Lowers AveragePool; the number of taps that count is computed where it is not constant."""
    kind = context.op.kind
    assert isinstance(kind, AveragePool)
    window = kind.window
    dims = context.source(0).type.dims[1:-1]
    bounds = kind.counted_bounds(dims)
    outputs = context.sink.type.dims[1:-1]

    def finish(total: Expr, at: tuple[Expr, ...]) -> Expr:
        fixed, varying = 1, None
        for axis in range(window.rank):
            counts = {
                _constant_count(window, axis, position, bounds[axis])
                for position in range(outputs[axis])
            }
            if len(counts) == 1:
                fixed *= counts.pop()
                continue
            count = _count(window, axis, at[axis], bounds[axis]).cast(total.type)
            varying = count if varying is None else varying * count
        divisor: Expr = Const(total.type, float(fixed))
        return total / (divisor if varying is None else varying * divisor)

    return _pool(context, window, 0.0, lambda total, value: total + value, finish)


def _constant_count(window: Window, axis: int, position: int, bounds: tuple[int, int]) -> int:
    first = position * window.strides[axis] - window.low[axis]
    taps = range(first, first + window.size[axis] * window.dilations[axis], window.dilations[axis])
    return sum(bounds[0] <= tap < bounds[1] for tap in taps)


def _tap_range(
    window: Window, axis: int, position: Expr, bounds: tuple[int, int]
) -> tuple[Expr, Expr]:
    """The half-open range of taps of a window that read inside `bounds`."""
    dilation = window.dilations[axis]
    first = position * window.strides[axis] - window.low[axis]
    low = maximum((first * -1 + (bounds[0] + dilation - 1)) // dilation, 0)
    high = minimum((first * -1 + (bounds[1] + dilation - 1)) // dilation, window.size[axis])
    return low, high


def _count(window: Window, axis: int, position: Expr, bounds: tuple[int, int]) -> Expr:
    low, high = _tap_range(window, axis, position, bounds)
    return high - low


def _pool(
    context: KernelContext,
    window: Window,
    identity: float,
    combine: Callable[[Expr, Expr], Expr],
    finish: Callable[[Expr, tuple[Expr, ...]], Expr],
) -> Block:
    x = context.source(0)
    dims = x.type.dims
    dtype = compute_type(x.type.dtype)
    lanes = context.lanes(dtype)
    names = context.names
    padded = [bool(low or high) for low, high in zip(window.low, window.high, strict=True)]

    def pixel(at: tuple[Expr, ...]) -> Block:
        def columns(first: Expr, width: int) -> Block:
            total = context.registers("total", dtype, width)

            def taps(axis: int, inputs: tuple[Expr, ...]) -> Block:
                if axis == window.rank:
                    return lanes_of(names, index(0), width, lambda lane: add(inputs, lane))
                low: Expr = index(0)
                high: Expr = index(window.size[axis])
                if padded[axis]:
                    low, high = _tap_range(window, axis, at[axis + 1], (0, dims[axis + 1]))
                origin = at[axis + 1] * window.strides[axis] - window.low[axis]
                step = window.dilations[axis]
                return loop(
                    names,
                    "y",
                    low,
                    high,
                    lambda tap: taps(axis + 1, (*inputs, origin + tap * step)),
                )

            def add(inputs: tuple[Expr, ...], lane: Expr) -> Block:
                value = x.at((at[0], *inputs, first + lane))
                return (Store(total, lane, combine(load(total, lane), value)),)

            def store(lane: Expr) -> Block:
                value = finish(load(total, lane), at[1:])
                return (context.sink.store((*at, first + lane), value),)

            start = Const(dtype, identity)
            clear = lanes_of(names, index(0), width, lambda lane: (Store(total, lane, start),))
            return clear + taps(0, ()) + lanes_of(names, index(0), width, store)

        whole, rest = divmod(dims[-1], lanes)
        blocks = loop(names, "b", 0, whole, lambda b: columns(b * lanes, lanes))
        return blocks + (columns(index(whole * lanes), rest) if rest else ())

    return nest(names, context.sink.type.dims[:-1], pixel)
