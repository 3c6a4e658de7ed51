"""The geometry of a convolution as its tiles see it: rows of columns, and which taps are inside."""

import math
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr, index, maximum, minimum
from lepton_cc.codegen.kernel.tile import balanced_parts
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.window import Window

# Kernels with more taps a row than this run them in a loop; borders are then done by the column.
MAX_UNROLLED_TAPS = 12


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A convolution in the form that the tiles see: rows of columns of channels.

    dims, outputs: spatial sizes, the last is the row that tiles cut. channels, filters: of one
    group.
    """

    batch: int
    dims: tuple[int, ...]
    outputs: tuple[int, ...]
    channels: int
    filters: int
    groups: int
    window: Window

    @property
    def depthwise(self) -> bool:
        """One input and one output channel in each group."""
        return self.channels == 1 and self.filters == 1

    @property
    def num_results(self) -> int:
        """Elements of the result."""
        return self.batch * math.prod(self.outputs) * self.filters * self.groups

    @property
    def num_muladds(self) -> int:
        """Multiply-adds, those with padding included."""
        return self.num_results * math.prod(self.window.size) * self.channels


def conv_shape(kind: Conv, x: tuple[int, ...], result: tuple[int, ...]) -> ConvShape:
    """The shape of a convolution, without dimensions of size 1 that it does not look along.

    One that looks at single pixels becomes one long row.
    """
    groups = kind.groups
    channels, filters = x[-1] // groups, result[-1] // groups
    axes = [axis for axis in range(kind.window.rank) if not _is_idle(kind.window, axis, x)]
    if axes and len(axes) < kind.window.rank:
        x = (x[0], *(x[axis + 1] for axis in axes), x[-1])
        result = (result[0], *(result[axis + 1] for axis in axes), result[-1])
    window = _along(kind.window, axes) if axes else kind.window
    plain = (1,) * window.rank
    if window.size == plain and window.strides == plain and not any(window.low + window.high):
        pixels = x[0] * math.prod(x[1:-1])
        flat = Window((1,), (1,), (1,), (0,), (0,))
        return ConvShape(1, (pixels,), (pixels,), channels, filters, groups, flat)
    return ConvShape(x[0], x[1:-1], result[1:-1], channels, filters, groups, window)


def _is_idle(window: Window, axis: int, x: tuple[int, ...]) -> bool:
    unpadded = not window.low[axis] and not window.high[axis]
    return x[axis + 1] == 1 and window.size[axis] == 1 and unpadded


def _along(window: Window, axes: list[int]) -> Window:
    fields = (window.size, window.strides, window.dilations, window.low, window.high)
    return Window(*(tuple(values[axis] for axis in axes) for values in fields))


@dataclass(frozen=True, slots=True)
class ColumnRun:
    """Equal tiles side by side: `count` tiles of `rows` columns from `start`.

    inside[row][tap] says which columns' taps read the input (not padding); None if all do.
    """

    start: int
    count: int
    rows: int
    inside: tuple[tuple[bool, ...], ...]


def column_runs(shape: ConvShape, rows: int) -> tuple[ColumnRun, ...]:
    """The tiles that cover one output row, neighbours with the same borders joined."""
    window = shape.window
    size, stride, dilation = window.size[-1], window.strides[-1], window.dilations[-1]
    runs: list[ColumnRun] = []
    start = 0
    for width in _column_parts(shape, rows):
        inside = tuple(
            tuple(
                0 <= (start + row) * stride - window.low[-1] + tap * dilation < shape.dims[-1]
                for tap in range(size)
            )
            for row in range(width)
        )
        last = runs[-1] if runs else None
        if last is not None and last.rows == width and last.inside == inside:
            runs[-1] = ColumnRun(last.start, last.count + 1, width, inside)
        else:
            runs.append(ColumnRun(start, 1, width, inside))
        start += width
    return tuple(runs)


def _column_parts(shape: ConvShape, rows: int) -> tuple[int, ...]:
    extent = shape.outputs[-1]
    if shape.window.size[-1] <= MAX_UNROLLED_TAPS:
        return balanced_parts(extent, rows)
    # Taps run in a loop: a tile must be wholly inside, so borders go column by column.
    first, last = inner_columns(shape)
    return (1,) * first + balanced_parts(last - first, rows) + (1,) * (extent - last)


def inner_columns(shape: ConvShape) -> tuple[int, int]:
    """The output columns of which all taps are inside: the first, and the one after the last."""
    window, extent = shape.window, shape.outputs[-1]
    span = (window.size[-1] - 1) * window.dilations[-1]
    first = min(extent, -(-window.low[-1] // window.strides[-1]))
    last = (shape.dims[-1] - 1 - span + window.low[-1]) // window.strides[-1] + 1
    return first, max(first, min(extent, last))


def taps_inside(shape: ConvShape, axis: int, origin: Expr) -> tuple[Expr, Expr]:
    """The taps of a dimension that read the input, if the first stands at `origin`."""
    window = shape.window
    dilation, size = window.dilations[axis], window.size[axis]
    if not window.low[axis] and not window.high[axis]:
        return index(0), index(size)
    first = maximum((origin * -1 + (dilation - 1)) // dilation, 0)
    beyond = origin * -1 + (shape.dims[axis] + dilation - 1)
    return first, minimum(beyond // dilation, size)


def inside_range(run: ColumnRun, size: int) -> tuple[int, int]:
    """The taps of a run that read the input: all, or those of its single border column."""
    (only,) = set(run.inside)
    taps = [tap for tap in range(size) if only[tap]]
    return (taps[0], taps[-1] + 1) if taps else (0, 0)
