"""Lowering of convolution: direct, channels last, tiles of output columns by output channels.

Padding costs nothing: a tile at the border simply leaves out the multiply-adds that would read
it. Which ones is known at compile time for the columns (each border has its own code) and is a
loop bound for the rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr, Var, index, load
from lepton_cc.codegen.kernel.ir import Block, Let
from lepton_cc.codegen.kernel.schedule import loop, nest, pieces
from lepton_cc.codegen.kernel.tile import Tile, choose_tile, narrowed_lanes
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.contraction import (
    Accumulators,
    Steps,
    accumulate,
    accumulators,
    each_vector,
    initialize,
)
from lepton_cc.codegen.lower.conv_matrix import conv_dot, lower_conv_by_matrices
from lepton_cc.codegen.lower.conv_shape import (
    MAX_UNROLLED_TAPS,
    ColumnRun,
    ConvShape,
    column_runs,
    conv_shape,
    inside_range,
    taps_inside,
)
from lepton_cc.codegen.lower.depthwise import lower_depthwise, lowers_by_dots
from lepton_cc.codegen.lower.dot import MIN_LANES, DotWeights, dot_weights
from lepton_cc.codegen.lower.packing import ConvWeights, conv_weights
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import delinearize, linearize
from lepton_cc.codegen.lower.sparse_conv import lower_sparse_conv
from lepton_cc.codegen.lower.subbyte import elements_a_byte, stored_elements
from lepton_cc.codegen.lower.threads import Rate, worth_threads
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.target import DotProduct
from lepton_cc.passes.quantize.accumulator_bound import Integers, accumulator_bound

_EXACT_IN_BINARY32 = 1 << 24
# Weights beyond this leave the nearest caches before the next row needs them again.
_RESIDENT_WEIGHTS_BYTES = 256 << 10
# Up to so many words a sum, LLVM mixes a tile's few steps with what is before and after them: it
# then needs registers besides the accumulators, or spills most of them.
_SHORT_REDUCTION = 12
# A pointwise convolution is cut into rows of about this many tiles, for the weights' locality.
_TILES_A_ROW = 4


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tile stands: outer output position, first column, group, block of channels."""

    outer: tuple[Expr, ...]
    column: Expr
    group: Expr
    block: Expr


# Makes the tiles of one row: outer output position, runs of columns, the first column.
_RowBody = Callable[[tuple[Expr, ...], tuple[ColumnRun, ...], Expr], Block]


def lower_conv(context: KernelContext) -> Block:
    """Lowers Conv; the input is read as it lies, constant weights are packed for the tile."""
    kind = context.op.kind
    assert isinstance(kind, Conv)
    shape = conv_shape(kind, context.source(0).type.dims, context.sink.type.dims)
    if lowers_by_dots(context, shape):
        return lower_depthwise(context, kind, shape)
    sparse = lower_sparse_conv(context, kind, shape)
    if sparse is not None:
        return sparse
    by_matrices = lower_conv_by_matrices(context, kind, shape)
    return _ConvLowering(context, kind, shape).body() if by_matrices is None else by_matrices


class _ConvLowering:
    """The loops of one convolution, from outside in. Holds what the nested functions share."""

    def __init__(self, context: KernelContext, kind: Conv, shape: ConvShape) -> None:
        self.context = context
        self.kind = kind
        self.shape = shape
        dot = conv_dot(context, shape)
        self.in_floats = dot is DotProduct.NONE and self._counts_in_floats()
        result = compute_type(context.op.result.type.dtype)
        self.dtype = DType.F32 if self.in_floats else result
        self.columns = shape.groups if shape.depthwise else shape.filters
        lanes = narrowed_lanes(self.columns, context.lanes(self.dtype))
        lanes = max(lanes, MIN_LANES) if dot is not DotProduct.NONE else lanes
        self.tile = Tile(1, 1, lanes)
        if context.options.tile:
            words = shape.channels * math.prod(shape.window.size) // max(dot.width, 1)
            is_short = dot is not DotProduct.NONE and words <= _SHORT_REDUCTION
            registers = context.target.vector_registers
            spare = registers * 3 // 8 if is_short else 0
            self.tile = choose_tile(
                shape.outputs[-1], self.columns, lanes, context.target, spare=spare
            )
        self.num_groups = 1 if shape.depthwise else shape.groups
        self.dot: DotWeights | None = None
        if dot is not DotProduct.NONE:
            self.dot = dot_weights(context, dot, self.columns, self.tile, kind.zero_point)
            return
        self.weights: ConvWeights = conv_weights(
            context,
            groups=self.num_groups,
            channels=shape.channels,
            filters=self.columns,
            taps=math.prod(shape.window.size),
            tile=self.tile,
            in_floats=self.in_floats,
        )

    def _counts_in_floats(self) -> bool:
        """True for integer depthwise convolutions whose sums binary32 holds exactly.

        Vectors multiply and add floats faster than 32-bit integers.
        """
        context, content = self.context, self.context.constant_array(1)
        x = context.source(0).type
        if not self.shape.depthwise or not x.dtype.is_integer or content is None:
            return False
        if context.lanes() == 1 or not context.target.float_unit or x.dtype.bits > 16:
            return False
        return accumulator_bound(self.kind, Integers.of(x), content, None) < _EXACT_IN_BINARY32

    def body(self) -> Block:
        """All loops: batch and outer output dimensions, channel blocks, column tiles."""
        shape = self.shape
        rate = Rate.ELEMENTS if self.dot is None else Rate.WORDS
        parallel = worth_threads(self.context, shape.num_muladds, shape.num_results, rate)
        large = self._weights_bytes() > _RESIDENT_WEIGHTS_BYTES
        if self.num_groups == 1 and (large or (parallel and self._is_one_piece())):
            return self._blocks_outside(parallel)
        return self._all_rows(
            lambda at, runs, origin: self._channel_blocks(at, runs, origin), parallel=parallel
        )

    def _weights_bytes(self) -> int:
        content = self.context.constant_array(1)
        if content is None:
            return 0
        stored = stored_elements(content)
        return stored.nbytes // elements_a_byte(DType.from_numpy(stored.dtype))

    def _blocks_outside(self, parallel: bool) -> Block:
        """Channel blocks outside, rows inside: a block's weights are loaded once for all rows."""
        whole, rest = divmod(self.columns, self.tile.columns)

        def block_body(block: Expr, width: int) -> Block:
            def tiles(at: tuple[Expr, ...], runs: tuple[ColumnRun, ...], origin: Expr) -> Block:
                return self._tiles(_Place(at, origin, index(0), block), runs, width)

            return self._all_rows(tiles, parallel=False)

        return pieces(
            self.context.names,
            whole,
            lambda block: block_body(block, self.tile.columns),
            (lambda: block_body(index(whole), rest)) if rest else None,
            parallel=parallel,
        )

    def _all_rows(self, tiles: _RowBody, *, parallel: bool) -> Block:
        """`tiles` for every row of outputs, or piece of one if the rows are one long row."""
        shape, window = self.shape, self.shape.window
        single_pixels = window.size == (1,) and window.strides == (1,)
        if shape.batch == 1 and single_pixels and not any(window.low + window.high):
            return self._pointwise_rows(tiles, parallel=parallel)
        runs = column_runs(shape, self.tile.rows)
        outer = (shape.batch, *shape.outputs[:-1])
        return nest(
            self.context.names, outer, lambda at: tiles(at, runs, index(0)), parallel=parallel
        )

    def _is_one_piece(self) -> bool:
        """Whether there are too few pixels for several threads, but not too few channels."""
        rows = math.prod((self.shape.batch, *self.shape.outputs[:-1]))
        pixels = self.shape.outputs[-1]
        return rows == 1 and pixels < 2 * self._piece and self.columns > self.tile.columns

    @property
    def _piece(self) -> int:
        """Pixels of a piece of one long row."""
        return self.tile.rows * _TILES_A_ROW

    def _pointwise_rows(self, tiles: _RowBody, *, parallel: bool) -> Block:
        """One long row of pixels, cut into pieces that share the weights they have loaded."""
        extent = self.shape.outputs[0]
        piece = self._piece
        whole = extent // piece if extent >= 2 * piece else 0
        rest = extent - whole * piece
        at = (index(0),)
        return pieces(
            self.context.names,
            whole,
            lambda number: tiles(at, self._pixel_runs(piece), number * piece),
            (lambda: tiles(at, self._pixel_runs(rest), index(whole * piece))) if rest else None,
            parallel=parallel,
        )

    def _pixel_runs(self, width: int) -> tuple[ColumnRun, ...]:
        window = Window((1,), (1,), (1,), (0,), (0,))
        row = ConvShape(1, (width,), (width,), 1, 1, 1, window)
        return column_runs(row, self.tile.rows)

    def _channel_blocks(
        self, outer: tuple[Expr, ...], runs: tuple[ColumnRun, ...], origin: Expr
    ) -> Block:
        names = self.context.names
        whole, rest = divmod(self.columns, self.tile.columns)

        def group_body(group: Expr) -> Block:
            def block_body(block: Expr, width: int) -> Block:
                return self._tiles(_Place(outer, origin, group, block), runs, width)

            statements = loop(names, "f", 0, whole, lambda b: block_body(b, self.tile.columns))
            return statements + (block_body(index(whole), rest) if rest else ())

        return loop(names, "g", 0, self.num_groups, group_body)

    def _tiles(self, place: _Place, runs: tuple[ColumnRun, ...], width: int) -> Block:
        vectors = -(-width // self.tile.lanes)
        statements: Block = ()
        for run in runs:
            tile = Tile(run.rows, vectors, self.tile.lanes)

            def one(number: Expr, run: ColumnRun = run, tile: Tile = tile) -> Block:
                column = place.column + (number * run.rows + run.start)
                here = _Place(place.outer, column, place.group, place.block)
                return self._tile(here, run, tile, width)

            statements += loop(self.context.names, "t", 0, run.count, one)
        return statements

    def _tile(self, place: _Place, run: ColumnRun, tile: Tile, width: int) -> Block:
        context = self.context
        registers = accumulators(context, tile, self.dtype)
        bias: Callable[[Expr], Expr] | None
        if self.dot is not None:
            readable, bias = tile.columns, self.dot.bias_of(place.block)
        else:
            readable = tile.columns if self.weights.packed else width
            bias = self.weights.bias(place.group, place.block)
        statements = initialize(context, registers, bias, readable)
        statements += self._outer_taps(place, run, registers, readable)
        return statements + each_vector(
            context, tile, lambda column: self._store(place, registers, column), width
        )

    def _store(self, place: _Place, registers: Accumulators, column: Expr) -> Block:
        shape, sink = self.shape, self.context.sink
        filters = self.columns * self.num_groups
        channel = place.group * self.columns + place.block * self.tile.columns + column
        stores: Block = ()
        for row in range(registers.tile.rows):
            at = (*place.outer, place.column + row)
            pixel = linearize(at, (shape.batch, *shape.outputs))
            if len(at) + 1 != sink.type.rank:
                at = delinearize(pixel, sink.type.dims[:-1])
            value = load(registers.buffer, registers.at(row, column))
            if self.in_floats:
                bias = self.context.optional_source(2)
                value = value.cast(DType.I32)
                value = value if bias is None else value + bias.at_linear(channel)
            stores += (sink.store_linear(pixel * filters + channel, (*at, channel), value),)
        return stores

    def _input(self, number: Expr) -> Expr:
        """An input element as it is multiplied: in the accumulators' type, less its zero point."""
        value = self.context.source(0).at_linear(number).cast(self.dtype)
        return value - self.kind.zero_point if self.kind.zero_point else value

    def _outer_taps(
        self, place: _Place, run: ColumnRun, registers: Accumulators, readable: int
    ) -> Block:
        """Loops over the taps of all dimensions but the last, inside the input only."""
        window, names = self.shape.window, self.context.names

        def axis_loop(axis: int, taps: tuple[Expr, ...], inputs: tuple[Expr, ...]) -> Block:
            if axis == window.rank - 1:
                return self._row_taps(place, run, registers, readable, taps, inputs)
            origin = place.outer[axis + 1] * window.strides[axis] - window.low[axis]
            dilation = window.dilations[axis]
            first, last = taps_inside(self.shape, axis, origin)
            return loop(
                names,
                "y",
                first,
                last,
                lambda tap: axis_loop(axis + 1, (*taps, tap), (*inputs, origin + tap * dilation)),
            )

        return axis_loop(0, (), ())

    def _row_taps(
        self,
        place: _Place,
        run: ColumnRun,
        registers: Accumulators,
        readable: int,
        taps: tuple[Expr, ...],
        inputs: tuple[Expr, ...],
    ) -> Block:
        """The taps along a row and the channels: one loop where they lie side by side."""
        shape, window = self.shape, self.shape.window
        total_channels = shape.channels * shape.groups
        size, dilation = window.size[-1], window.dilations[-1]
        base = Var(INDEX, self.context.names.fresh("base"))
        let = Let(base, self._first_element(place, inputs))
        row_step = window.strides[-1] * total_channels
        if self.dot is not None:
            return (let, *self._dot_taps(place, registers, readable, taps, base))
        tap_base = linearize((*taps, index(0)), window.size) if taps else index(0)

        def weights(tap: Expr, channel: Expr, lane: Expr) -> Expr:
            return self.weights.at(
                place.group, place.block, readable, tap_base + tap, channel, lane
            )

        def steps(depth: int, count: int, tap_offset: Expr, *, split: bool) -> Steps:
            def row_input(row: int, tap: int, step: Expr, lane: Expr) -> Expr | None:
                if split and not run.inside[row][tap]:
                    return None
                offset = base + (tap_offset + tap) * (dilation * total_channels)
                return self._input(offset + step + (lane + row * row_step))

            return Steps(
                depth,
                count,
                row_input,
                lambda tap, step, lane: weights(tap_offset + tap, step, lane),
                readable,
                by_column=shape.depthwise,
                together=self.weights.steps_a_byte,
            )

        inside = all(all(row) for row in run.inside)
        if inside and dilation == 1 and shape.groups == 1:
            together = steps(size * shape.channels, 1, index(0), split=False)
            return (let, *accumulate(self.context, registers, together))
        if size <= MAX_UNROLLED_TAPS:
            apart = steps(shape.channels, size, index(0), split=True)
            return (let, *accumulate(self.context, registers, apart))
        first, last = inside_range(run, size)

        def one(tap: Expr) -> Block:
            return accumulate(self.context, registers, steps(shape.channels, 1, tap, split=False))

        return (let, *loop(self.context.names, "u", first, last, one))

    def _first_element(self, place: _Place, inputs: tuple[Expr, ...]) -> Expr:
        """The number of the input element that the first tap of a row multiplies."""
        shape, window = self.shape, self.shape.window
        column = place.column * window.strides[-1] - window.low[-1]
        # The first tap may lie in the padding, outside the row: no dimension may be left out.
        pixel = place.outer[0]
        for position, dim in zip((*inputs, column), shape.dims, strict=True):
            pixel = pixel * dim + position
        channel: Expr = place.group * shape.channels
        if shape.depthwise:
            channel = place.block * self.tile.columns
        return pixel * (shape.channels * shape.groups) + channel

    def _dot_taps(
        self,
        place: _Place,
        registers: Accumulators,
        readable: int,
        outer_taps: tuple[Expr, ...],
        base: Expr,
    ) -> Block:
        """The taps along a row and the channels, a word at a time; nothing is padding."""
        shape, window, names = self.shape, self.shape.window, self.context.names
        dot, block = self.dot, place.block
        assert dot is not None
        x = self.context.direct_buffer(0)
        width, size = dot.dot.width, window.size[-1]
        row_step = window.strides[-1] * shape.channels
        # A row of taps is whole words, else dot products would not be usable.
        first_step = linearize(outer_taps, window.size[:-1]) * (size * shape.channels // width)

        def steps(depth: int, offset: Expr, first: Expr) -> Steps:
            return Steps(
                depth,
                1,
                lambda row, tap, step, lane: dot.word(
                    x, base + offset + step * width + row * row_step
                ),
                lambda tap, step, lane: dot.at(block, readable, first + step, lane),
                readable,
                combine=dot.combine,
                together=dot.steps_a_word,
            )

        if window.dilations[-1] == 1:
            together = steps(size * shape.channels // width, index(0), first_step)
            return accumulate(self.context, registers, together)
        words = shape.channels // width
        skip = window.dilations[-1] * shape.channels
        return loop(
            names,
            "u",
            0,
            size,
            lambda tap: accumulate(
                self.context, registers, steps(words, tap * skip, first_step + tap * words)
            ),
        )
