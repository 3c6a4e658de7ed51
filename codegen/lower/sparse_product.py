"""Loops of contractions whose weights are stored without zeros: pixels by bands of columns.

A product says where pixels and taps stand in the input, the stored weights say which inputs a band
of columns multiplies: `block_sparse.py` by lists, `few_of_four.py` by positions, `constant_code.py`
in the code itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from lepton_cc.codegen.kernel.expr import Const, Expr, Var, index, load, select
from lepton_cc.codegen.kernel.ir import Block, Let, Stmt
from lepton_cc.codegen.kernel.schedule import loop, nest, pieces
from lepton_cc.codegen.kernel.tile import Tile, balanced_counts
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
from lepton_cc.codegen.lower.sparse_operands import SparseOperands

# Vector code cuts long lines into pieces of so many tiles, which stay near while bands pass.
_TILES_A_PIECE = 4

Line = tuple[Expr, ...]
# segment, first -> statements: what a segment of weights adds, whose rows count from element first.
SegmentBody = Callable[[Expr, Expr], Block]


@dataclass(frozen=True, slots=True)
class SparseProduct:
    """What a contraction computes: element (line, pixel, column), each a sum over segments.

    lines: extents of the outer loops. borders: pixels at the begin and at the end of a line that
    miss some segments. each_segment(line, pixel, whole, body): `body` for every segment that a
    pixel meets; `whole` says that it is no border. Pixels of a line are `stride` elements apart.
    store(line, pixel, column, sum) gives the statement for a result.
    """

    operands: SparseOperands
    lines: tuple[int, ...]
    pixels: int
    borders: tuple[int, int]
    each_segment: Callable[[Line, Expr, bool, SegmentBody], Block]
    stride: int
    store: Callable[[Line, Expr, Expr, Expr], Stmt]
    parallel: bool


@dataclass(frozen=True, slots=True)
class SparseTile:
    """A tile of pixels times one band of columns, while it is being summed.

    sums: accumulators that add up to the sums. of_weights: those of the weights alone, if the
    inputs' zero point times these is to be taken off.
    """

    context: KernelContext
    product: SparseProduct
    band: Expr
    columns: int
    sums: tuple[Accumulators, ...]
    of_weights: Accumulators | None

    def add(
        self, part: int, inputs: tuple[Expr, ...], weights: Callable[[int, Expr], Expr]
    ) -> Block:
        """Adds the products of inputs and weights to the sums of a part.

        inputs: elements, of the first pixel; weights(number of the input, column): an element.
        """
        operands, stride = self.product.operands, self.product.stride
        steps = Steps(
            1,
            len(inputs),
            lambda row, tap, step, lane: operands.read(inputs[tap] + row * stride),
            lambda tap, step, lane: weights(tap, lane),
            self.columns,
            combine=operands.combine,
        )
        added = accumulate(self.context, self.sums[part % len(self.sums)], steps)
        if self.of_weights is None:
            return added
        one = Const(operands.dtype, 1)
        alone = replace(steps, row_input=lambda row, tap, step, lane: one)
        return added + accumulate(self.context, self.of_weights, alone)


class SparseWeights(Protocol):
    """Stored weights: `num_bands` bands of `columns` columns.

    parts: accumulators of a tile of one pixel that are added to in turn. static_bands: each band
    has its own code.
    """

    @property
    def columns(self) -> int: ...
    @property
    def num_bands(self) -> int: ...
    @property
    def parts(self) -> int: ...
    @property
    def static_bands(self) -> bool: ...

    def accumulate_segment(self, tile: SparseTile, segment: Expr, first: Expr) -> Block:
        """Adds a segment of the tile's band, whose rows count from input element `first`."""
        ...


def lower_sparse_product(
    context: KernelContext, product: SparseProduct, weights: SparseWeights, most_pixels: int
) -> Block:
    """The loops: lines, pieces of them, bands of columns, tiles of at most `most_pixels`."""
    return _SparseLowering(context, product, weights, most_pixels).body()


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Neighbouring pixels of a line; of the borders, so many stand at the begin and the end."""

    line: Line
    first: Expr
    count: int
    borders: tuple[int, int] = (0, 0)


class _SparseLowering:
    """The loops of one product, from outside in."""

    def __init__(
        self,
        context: KernelContext,
        product: SparseProduct,
        weights: SparseWeights,
        most_pixels: int,
    ) -> None:
        self.context, self.product, self.weights = context, product, weights
        self.names, self.most_pixels = context.names, most_pixels
        self.lanes = min(context.lanes(product.operands.dtype), weights.columns)

    def body(self) -> Block:
        """All loops."""
        product, piece = self.product, self.most_pixels * _TILES_A_PIECE
        long = self.lanes > 1 and not any(product.borders) and product.pixels >= 2 * piece
        if long and all(extent == 1 for extent in product.lines):
            line = (index(0),) * len(product.lines)
            return self._in_pieces(line, piece, parallel=product.parallel)

        def whole_line(at: Line) -> Block:
            if long:
                return self._in_pieces(at, piece, parallel=False)
            return self._bands(_Pixels(at, index(0), product.pixels, product.borders))

        return nest(self.names, product.lines, whole_line, parallel=product.parallel)

    def _in_pieces(self, line: Line, piece: int, *, parallel: bool) -> Block:
        whole, rest = divmod(self.product.pixels, piece)
        return pieces(
            self.names,
            whole,
            lambda number: self._bands(_Pixels(line, number * piece, piece)),
            (lambda: self._bands(_Pixels(line, index(whole * piece), rest))) if rest else None,
            parallel=parallel,
        )

    def _bands(self, pixels: _Pixels) -> Block:
        """All columns of some pixels."""
        if not self.weights.static_bands:
            return loop(
                self.names, "f", 0, self.weights.num_bands, lambda band: self._band(pixels, band)
            )
        each = [self._band(pixels, index(number)) for number in range(self.weights.num_bands)]
        return tuple(statement for block in each for statement in block)

    def _band(self, pixels: _Pixels, band: Expr) -> Block:
        """One band of some pixels: those of the borders one by one, the others in tiles."""
        low, high = pixels.borders
        inner = pixels.count - low - high

        def border(number: Expr) -> Block:
            place = number
            if high:
                place = select(number < low, number, number + inner) if low else number + inner
            pixel = Var(INDEX, self.names.fresh("pixel"))
            let = Let(pixel, pixels.first + place)
            return (let, *self._tile(pixels.line, pixel, 1, band, whole=False))

        statements = loop(self.names, "b", 0, low + high, border)
        start = low
        for size, number in balanced_counts(inner, self.most_pixels):
            origin = pixels.first + start

            def one(number: Expr, size: int = size, origin: Expr = origin) -> Block:
                return self._tile(pixels.line, origin + number * size, size, band, whole=True)

            statements += loop(self.names, "t", 0, number, one)
            start += size * number
        return statements

    def _tile(self, line: Line, pixel: Expr, size: int, band: Expr, *, whole: bool) -> Block:
        context, product, columns = self.context, self.product, self.weights.columns
        tile = self._sums(size, band)
        first, bias = band * columns, product.operands.bias
        start = None if bias is None else (lambda column: bias(first + column))
        statements = initialize(context, tile.sums[0], start, columns)
        for others in (*tile.sums[1:], *((tile.of_weights,) if tile.of_weights else ())):
            statements += initialize(context, others, None, columns)
        statements += product.each_segment(
            line, pixel, whole, lambda segment, x: self.weights.accumulate_segment(tile, segment, x)
        )

        def store(column: Expr) -> Block:
            return tuple(
                product.store(line, pixel + row, first + column, _total(tile, row, column))
                for row in range(size)
            )

        return statements + each_vector(context, tile.sums[0].tile, store, columns)

    def _sums(self, size: int, band: Expr) -> SparseTile:
        """Registers for a tile of so many pixels."""
        context, columns, dtype = self.context, self.weights.columns, self.product.operands.dtype
        shape = Tile(size, columns // self.lanes, self.lanes)
        parts = self.weights.parts if size == 1 else 1
        sums = tuple(accumulators(context, shape, dtype) for _ in range(parts))
        of_weights = None
        if self.product.operands.zero_point:
            of_weights = accumulators(context, replace(shape, rows=1), dtype)
        return SparseTile(context, self.product, band, columns, sums, of_weights)


def _total(tile: SparseTile, row: int, column: Expr) -> Expr:
    first, *others = (load(part.buffer, part.at(row, column)) for part in tile.sums)
    total: Expr = first
    for other in others:
        total = total + other
    if tile.of_weights is None:
        return total
    weights = load(tile.of_weights.buffer, tile.of_weights.at(0, column))
    return total - weights * tile.product.operands.zero_point
