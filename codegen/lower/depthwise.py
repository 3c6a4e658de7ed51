"""Depthwise convolution of small integers by dot products: a word holds four taps of one channel.

A word of inputs is made in registers, of four rows of one column of the image; vectors of words
run along the channels. Every tap column of every output that looks at that column uses the same
words, and so do neighbouring output rows: three taps and four rows are one word for two of them,
the fourth byte of each meeting a zero weight.

Padding: a column outside the input is a word of zero points. Rows outside the input are read from
the border and meet zero weights, of which bands of rows at the border have their own. All zero
points times the weights that meet them are in the bias.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, Var, index, load, maximum, minimum
from lepton_cc.codegen.kernel.integer_expr import Dot, DotShape, PackedWord
from lepton_cc.codegen.kernel.ir import Block, Let, Stmt, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, nest, pieces
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.conv_shape import (
    MAX_UNROLLED_TAPS,
    ColumnRun,
    ConvShape,
    column_runs,
)
from lepton_cc.codegen.lower.depthwise_band import WORD_BYTES, Band, as_image
from lepton_cc.codegen.lower.dot import MIN_LANES
from lepton_cc.codegen.lower.source import delinearize, linearize
from lepton_cc.codegen.lower.threads import Rate, worth_threads
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.target import DotProduct
from lepton_cc.ir.tensor import Array

_MOST_ROWS = 2
_FEW_BANDS = 12
# A tile makes no more dot products than this, in straight code, and no output more than that.
_TILE_DOTS = 256
_OUTPUT_DOTS = 40
# Weights grow by the borders that rows have: with large windows of few rows, beyond all use.
_MAX_BORDERS = 16


@dataclass(frozen=True, slots=True)
class _Weights:
    """Words [border][block][row][word][tap][lane], and the bias [border][block][row][lane]."""

    words: Callable[[Expr], Expr]
    bias: Callable[[Expr], Expr]


def lowers_by_dots(context: KernelContext, shape: ConvShape) -> bool:
    """Whether this file has the loops for the context's convolution."""
    weights, window = context.constant_array(1), shape.window
    bias_known = context.optional_source(2) is None or context.constant_array(2) is not None
    if (
        context.target.dot_product is not DotProduct.QUADS
        or not context.options.vectorize
        or not shape.depthwise
        or shape.groups < MIN_LANES
        or context.source(0).type.dtype is not DType.U8
        or weights is None
        or DType.from_numpy(weights.dtype) not in (DType.I8, DType.I4)
        or not bias_known
        or window.rank > 2
        or window.size[0] == 1
        or math.prod(shape.outputs) == 0
    ):
        return False
    image = as_image(shape)
    band = Band(image, 1, 0, image.outputs[0])
    dots = band.num_words * image.window.size[1]
    fits = image.window.size[1] <= MAX_UNROLLED_TAPS and dots <= _OUTPUT_DOTS
    return fits and len(band.borders) <= _MAX_BORDERS


def lower_depthwise(context: KernelContext, kind: Conv, shape: ConvShape) -> Block:
    """Lowers a depthwise Conv for which `lowers_by_dots` holds."""
    return _DepthwiseLowering(context, kind, as_image(shape)).body()


class _DepthwiseLowering:
    """The loops of one depthwise convolution, from outside in."""

    def __init__(self, context: KernelContext, kind: Conv, shape: ConvShape) -> None:
        self.context = context
        self.shape = shape
        self.channels = shape.groups
        widest = context.lanes(DType.I32)
        self.lanes = next(lanes for lanes in (16, 8, 4) if lanes <= min(widest, self.channels))
        # Half of the registers hold accumulators, the others weights and words.
        self.accumulators = context.target.vector_registers // 2
        self.zero_point = kind.zero_point

    def body(self) -> Block:
        """Batch, bands of rows, tiles of columns, blocks of channels."""
        shape = self.shape
        rows = min(range(1, _MOST_ROWS + 1), key=self._cost)
        whole, rest = divmod(shape.outputs[0], rows)
        main = Band(shape, rows, 0, whole)
        last = Band(shape, rest, whole * rows, 1)
        parallel = worth_threads(self.context, shape.num_muladds, shape.num_results, Rate.TAPS)
        # Few bands do not share out evenly; halves of their channels do.
        halves = parallel and whole < _FEW_BANDS and self.channels % (2 * self.lanes) == 0
        parts = 2 if halves else 1

        def image(batch: Expr, *, parallel: bool) -> Block:
            weights = self._weights(main)
            return pieces(
                self.context.names,
                whole * parts,
                lambda number: self._band(main, batch, number, weights, parts),
                (lambda: self._band(last, batch, index(0), self._weights(last))) if rest else None,
                parallel=parallel,
            )

        if shape.batch == 1:
            return image(index(0), parallel=parallel)
        return nest(
            self.context.names,
            (shape.batch,),
            lambda at: image(at[0], parallel=False),
            parallel=parallel,
        )

    # The shape of tiles

    def _columns(self, band: Band) -> int:
        """Output columns of a tile."""
        dots = band.num_words * self.shape.window.size[1] * band.rows
        return max(1, min(self.accumulators // band.rows, _TILE_DOTS // dots))

    def _cost(self, rows: int) -> float:
        """Instructions for one output: words of inputs are made by an insertion for each row."""
        if rows > self.shape.outputs[0]:
            return math.inf
        band = Band(self.shape, rows, 0, 1)
        columns = min(self._columns(band), self.shape.outputs[1])
        made = (len(band.offsets) + band.num_words) * len(self._tap_columns(columns))
        met = sum(band.meets(row, word) for row in range(rows) for word in range(band.num_words))
        return (made + met * columns * self.shape.window.size[1]) / (rows * columns)

    def _tap_columns(self, columns: int) -> tuple[int, ...]:
        """The input columns that a tile reads, from the first tap of its first column on."""
        size = self.shape.window.size[1]
        return tuple(
            sorted({self._column(at, tap) for at in range(columns) for tap in range(size)})
        )

    def _column(self, at: int, tap: int) -> int:
        window = self.shape.window
        return at * window.strides[1] + tap * window.dilations[1]

    # Constants

    @property
    def _starts(self) -> tuple[int, ...]:
        """The first channel of each block; the last overlaps another if channels do not fill it."""
        blocks = -(-self.channels // self.lanes)
        last = self.channels - self.lanes
        return tuple(min(block * self.lanes, last) for block in range(blocks))

    def _weights(self, band: Band) -> _Weights:
        content, bias = self.context.constant_array(1), self.context.constant_array(2)
        assert content is not None
        taps = content.astype(np.int64).reshape(*self.shape.window.size, self.channels)
        start = np.zeros(self.channels, np.int64) if bias is None else bias.astype(np.int64)
        words, starts = [], []
        for inside in band.borders:
            for row in range(band.rows):
                met = band.met_taps(row, inside, taps)
                words.append(met)
                starts.append(start.reshape(-1) - self.zero_point * met.sum(axis=(0, 1)))
        shape = (len(band.borders), band.rows)
        packed = self._blocks(np.stack(words).reshape(*shape, *words[0].shape))
        # [border, block, row, place, tap, lane] -> bytes of words
        split = packed.reshape(*packed.shape[:3], band.num_words, WORD_BYTES, *packed.shape[4:])
        fields = np.ascontiguousarray(np.moveaxis(split, 4, -1).astype(np.int8))
        filled = self._blocks(np.stack(starts).reshape(*shape, self.channels))
        panels = self.context.constant(fields.reshape(-1).view("<i4"))
        biases = self.context.constant(filled.astype(np.int32).reshape(-1))
        return _Weights(lambda at: load(panels, at), lambda at: load(biases, at))

    def _blocks(self, array: Array) -> Array:
        """[border, ..., channel] -> [border, block, ..., lane]."""
        parts = [array[..., start : start + self.lanes] for start in self._starts]
        return np.stack(parts, axis=1)

    # Loops

    def _band(
        self, band: Band, batch: Expr, number: Expr, weights: _Weights, parts: int = 1
    ) -> Block:
        """All tiles of one band, or of one of the `parts` of its channels."""
        height, width = self.shape.dims
        names = self.context.names
        part, number = number % parts, number // parts
        origin = band.origin(number)
        border = Var(INDEX, names.fresh("border"))
        statements: Block = (Let(border, band.border(number)),)
        rows: list[Expr] = []
        for offset in band.offsets:
            row = origin + offset
            if any(self.shape.window.low[:1] + self.shape.window.high[:1]):
                row = minimum(maximum(row, 0), height - 1)
            base = Var(INDEX, names.fresh("row"))
            statements += (Let(base, (batch * height + row) * (width * self.channels)),)
            rows.append(base)
        at = _Place(band, batch, number * band.rows + band.first, border, tuple(rows), weights)
        for run in column_runs(self.shape, self._columns(band)):

            def tile(number: Expr, run: ColumnRun = run) -> Block:
                return self._channel_blocks(at, run, number * run.rows + run.start, part, parts)

            statements += loop(names, "t", 0, run.count, tile)
        return statements

    def _channel_blocks(
        self, place: "_Place", run: ColumnRun, column: Expr, part: Expr, parts: int
    ) -> Block:
        whole, rest = divmod(self.channels, self.lanes)
        count = whole // parts

        def one(number: Expr) -> Block:
            block = part * count + number
            return self._tile(_Tile(place, run, column, block, block * self.lanes), 0)

        statements = loop(self.context.names, "f", 0, count, one)
        if rest:
            last = _Tile(place, run, column, index(whole), index(self._starts[-1]))
            statements += self._tile(last, self.lanes - rest)
        return statements

    def _tile(self, tile: "_Tile", known: int) -> Block:
        """The outputs of a tile for one block of channels; another stores the first `known`."""
        names, band, lanes = self.context.names, tile.place.band, self.lanes
        outputs = [(row, at) for row in range(band.rows) for at in range(tile.run.rows)]
        totals = self.context.registers("acc", DType.I32, len(outputs) * lanes)

        def accumulator(row: int, at: int, lane: Expr) -> Expr:
            return lane + (row * tile.run.rows + at) * lanes

        def start(lane: Expr) -> Block:
            first = self._number(tile) * (band.rows * lanes)
            return tuple(
                Store(
                    totals,
                    accumulator(row, at, lane),
                    tile.place.weights.bias(first + (lane + row * lanes)),
                )
                for row, at in outputs
            )

        def store(lane: Expr) -> Block:
            return tuple(
                self._store(tile, (row, at), lane, load(totals, accumulator(row, at, lane)))
                for row, at in outputs
            )

        statements = lanes_of(names, index(0), lanes, start)
        for offset in self._tap_columns(tile.run.rows):
            for word in range(band.num_words):

                def dots(lane: Expr, offset: int = offset, word: int = word) -> Block:
                    return self._dots(tile, (offset, word), lane, totals, accumulator)

                statements += lanes_of(names, index(0), lanes, dots)
        return statements + lanes_of(names, index(known), lanes - known, store)

    def _number(self, tile: "_Tile") -> Expr:
        """The place of a tile's border and block among those that weights are packed for."""
        return tile.place.border * len(self._starts) + tile.block

    def _dots(
        self,
        tile: "_Tile",
        at: tuple[int, int],
        lane: Expr,
        totals: Buffer,
        accumulator: Callable[[int, int, Expr], Expr],
    ) -> Block:
        """Makes the word of a column and multiplies it for every output that looks at it."""
        (offset, word), band, size = at, tile.place.band, self.shape.window.size[1]
        inputs = Var(DType.I32, self.context.names.fresh("w"))
        uses = [
            (column, tap)
            for column in range(tile.run.rows)
            for tap in range(size)
            if self._column(column, tap) == offset
        ]
        is_padding = not tile.run.inside[uses[0][0]][uses[0][1]]
        value = self._padding() if is_padding else self._word(tile, offset, word, lane)
        statements: Block = (Let(inputs, value),)
        first = self._number(tile) * (band.rows * band.num_words * size * self.lanes)
        for column, tap in uses:
            for row in range(band.rows):
                if not band.meets(row, word):
                    continue
                here = accumulator(row, column, lane)
                step = (row * band.num_words + word) * size + tap
                weight = tile.place.weights.words(first + (lane + step * self.lanes))
                total = Dot(DType.I32, DotShape.QUADS, inputs, weight, load(totals, here))
                statements += (Store(totals, here, total),)
        return statements

    def _word(self, tile: "_Tile", offset: int, word: int, lane: Expr) -> Expr:
        x, window = self.context.source(0), self.shape.window
        column = tile.column * window.strides[1] - window.low[1]
        first = column * self.channels + tile.channel
        elements = [
            x.at_linear(tile.place.rows[row] + (first + (lane + offset * self.channels)))
            for row in tile.place.band.places(word)
        ]
        missing = (Const(DType.U8, 0),) * (WORD_BYTES - len(elements))
        return PackedWord(DType.I32, (*elements, *missing))

    def _padding(self) -> Const:
        word = np.full(WORD_BYTES, self.zero_point, np.uint8).view("<i4")
        return Const(DType.I32, int(word[0]))

    def _store(self, tile: "_Tile", at: tuple[int, int], lane: Expr, value: Expr) -> Stmt:
        sink, place = self.context.sink, tile.place
        row, column = at
        outer: tuple[Expr, ...] = (place.batch, place.row + row, tile.column + column)
        pixel = linearize(outer, (self.shape.batch, *self.shape.outputs))
        if len(outer) + 1 != sink.type.rank:
            outer = delinearize(pixel, sink.type.dims[:-1])
        channel = tile.channel + lane
        return sink.store_linear(pixel * self.channels + channel, (*outer, channel), value)


@dataclass(frozen=True, slots=True)
class _Place:
    """A band of rows: its batch and first output row, its border, where its input rows start."""

    band: Band
    batch: Expr
    row: Expr
    border: Expr
    rows: tuple[Expr, ...]
    weights: _Weights


@dataclass(frozen=True, slots=True)
class _Tile:
    """Columns of a band for one block of channels: the first of both, and the block's number."""

    place: _Place
    run: ColumnRun
    column: Expr
    block: Expr
    channel: Expr
