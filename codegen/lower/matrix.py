"""Contractions of bytes on a matrix unit: blocks of accumulators in registers of rows of words.

Inputs and packed weights are those of dot products (`dot.py`). A line of pixels is cut into equal
tiles; where they do not fill it the last one starts earlier, and of what it computes only the rows
that no other tile has are stored.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr, Var, index, load
from lepton_cc.codegen.kernel.ir import (
    Block,
    Let,
    Matrix,
    MatrixDot,
    MatrixLoad,
    MatrixStore,
    Prefetch,
    Stmt,
)
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, pieces
from lepton_cc.codegen.kernel.tile import Tile
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.dot import DotWeights, dot_weights
from lepton_cc.codegen.lower.matrix_grid import (
    EXTENT,
    Contraction,
    Grid,
    choose_grid,
    matrix_cycles,
    vector_cycles,
)
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct

# Weights beyond this leave the nearest cache before the next rows need them again.
_RESIDENT_WEIGHTS_BYTES = 48 << 10
# Weights come from afar, and matrix loads by themselves do not hide that: twice the rate, measured
# with 32 MB of them.
_NEAR_WEIGHTS_BYTES = 32 << 10
_AHEAD_BYTES = 16384
# A loop with fewer iterations is not handed to threads if there is another.
_LEAST_PARTS = 4
# What a byte that another core has just written costs, in bytes of weights that nobody writes.
_MOVED_TO_READ = 4


@dataclass(frozen=True, slots=True)
class Product:
    """What a contraction computes: element (line, pixel, column), each a sum of runs of words.

    origin(line, pixel): the input element where the first run starts; pixels of a line are
    `pixel_stride` apart. taps: (count, distance) of the runs, outermost first. store(line, pixel,
    column, sum) gives the statement for a result.
    """

    extents: Contraction
    zero_point: int
    origin: Callable[[Expr, Expr], Expr]
    pixel_stride: int
    taps: tuple[tuple[int, int], ...]
    store: Callable[[Expr, Expr, Expr, Expr], Stmt]


def result_lanes(context: KernelContext) -> int:
    """Results that are finished at once: as many as fill a register once they are stored."""
    return max(EXTENT, context.lanes(context.sink.type.dtype))


def matrix_grid(context: KernelContext, extents: Contraction) -> Grid | None:
    """The grid for a contraction that dot products can do, if the matrix unit does it faster."""
    weights, registers = context.constant_array(1), context.target.matrix_registers
    if weights is None or DType.from_numpy(weights.dtype) is not DType.I8:
        return None
    if not registers or not context.options.tile:
        return None
    grid = choose_grid(extents, registers)
    return grid if matrix_cycles(extents, grid) < vector_cycles(extents) else None


def lower_product(context: KernelContext, product: Product, grid: Grid, *, parallel: bool) -> Block:
    """The loops of a product that `matrix_grid` has a grid for."""
    return _ProductLowering(context, product, grid, parallel=parallel).body()


@dataclass(frozen=True, slots=True)
class _Rows:
    """The tiles of a block: `tiles` from `tile` on, of each of `lines` from `line` on.

    number: how many blocks come before. last: the block ends with a line's last tile.
    """

    number: Expr
    line: Expr
    lines: int
    tile: Expr
    tiles: int
    last: bool


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a block: from vector number `first` on, `width` of them."""

    first: Expr
    width: int

    @property
    def vectors(self) -> int:
        """Vectors that they fill, the last perhaps in part."""
        return -(-self.width // EXTENT)


_RowsBody = Callable[[_Rows], Block]
_ColumnsBody = Callable[[_Columns], Block]


class _ProductLowering:
    """The loops of one product. Holds the registers that all blocks share."""

    def __init__(
        self, context: KernelContext, product: Product, grid: Grid, *, parallel: bool
    ) -> None:
        self.context, self.product, self.grid = context, product, grid
        self.parallel = parallel
        extents = product.extents
        self.weights: DotWeights = dot_weights(
            context, DotProduct.QUADS, extents.columns, Tile(1, 1, EXTENT), product.zero_point
        )
        self.weights_bytes = self.weights.panels.size * 4
        too_few_rows = grid.blocks_down(extents) < _LEAST_PARTS
        self.x: Buffer = context.direct_buffer(0)
        self.columns_outside = self.weights_bytes > _RESIDENT_WEIGHTS_BYTES or (
            parallel and too_few_rows
        )
        self.threads_take_rows = (
            not too_few_rows and self.weights_bytes < self._moved_bytes() * _MOVED_TO_READ
        )
        down, across = grid.down, grid.across
        self.totals = [context.matrix("c", grid.rows, EXTENT) for _ in range(down * across)]
        # The side with fewer matrices stays in registers during a step, the other passes through.
        free = context.target.matrix_registers - down * across - min(down, across)
        passing = min(free, 2, max(down, across))
        num_inputs, num_weights = (passing, across) if across <= down else (down, passing)
        self.inputs = [context.matrix("a", grid.rows, grid.depth) for _ in range(num_inputs)]
        self.factors = [context.matrix("b", grid.depth, EXTENT) for _ in range(num_weights)]
        self.lanes = extents.results
        self.sums = context.stack("sums", DType.I32, down * across * grid.rows * EXTENT)

    def _moved_bytes(self) -> int:
        """Bytes of input and results: what threads that share out columns take from each other.

        Layers before and after are cut by rows, too, so that a thread's rows are its own already;
        columns are the better cut only where the weights, which all threads read then, are more.
        """
        results = self.context.sink.type
        return self.x.size * self.x.dtype.size_bytes + results.size_bytes

    def body(self) -> Block:
        """Rows outside; or blocks of columns, if the weights are too many to be read again."""
        by_rows = self.parallel and self.threads_take_rows
        by_columns = self.parallel and not by_rows
        if self.columns_outside:
            return self._all_columns(
                lambda columns: self._all_rows(
                    lambda rows: self._block(rows, columns), parallel=by_rows
                ),
                parallel=by_columns,
            )
        return self._all_rows(
            lambda rows: self._all_columns(
                lambda columns: self._block(rows, columns), parallel=by_columns
            ),
            parallel=by_rows,
        )

    def _all_columns(self, body: _ColumnsBody, *, parallel: bool) -> Block:
        """`body` for every block of columns."""
        across, columns = self.grid.across, self.product.extents.columns
        whole, rest = divmod(columns, across * EXTENT)
        return pieces(
            self.context.names,
            whole,
            lambda number: body(_Columns(number * across, across * EXTENT)),
            (lambda: body(_Columns(index(whole * across), rest))) if rest else None,
            parallel=parallel,
        )

    def _all_rows(self, body: _RowsBody, *, parallel: bool) -> Block:
        """`body` for every block of rows."""
        grid, names = self.grid, self.context.names
        lines = self.product.extents.lines
        if grid.tiles_down == grid.tiles:
            whole, rest = divmod(lines, grid.lines)

            def some(number: Expr, count: int) -> Block:
                first = number * grid.lines
                return body(_Rows(number, first, count, index(0), grid.tiles, last=True))

            return pieces(
                names,
                whole,
                lambda number: some(number, grid.lines),
                (lambda: some(index(whole), rest)) if rest else None,
                parallel=parallel,
            )
        if lines == 1:
            return self._parts_of_line(index(0), body, parallel=parallel)
        return pieces(
            names,
            lines,
            lambda line: self._parts_of_line(line, body, parallel=False),
            None,
            parallel=parallel,
        )

    def _parts_of_line(self, line: Expr, body: _RowsBody, *, parallel: bool) -> Block:
        grid = self.grid
        count = grid.tiles_down
        # The block with the last tile is one of its own.
        whole = (grid.tiles - 1) // count
        rest = grid.tiles - whole * count

        def some(part: Expr, tiles: int, *, last: bool) -> Block:
            number = line * (whole + 1) + part
            return body(_Rows(number, line, 1, part * count, tiles, last))

        return pieces(
            self.context.names,
            whole,
            lambda part: some(part, count, last=False),
            lambda: some(index(whole), rest, last=True),
            parallel=parallel,
        )

    # One block

    def _block(self, rows: _Rows, columns: _Columns) -> Block:
        down, across = rows.lines * rows.tiles, columns.vectors
        lets, origins = self._origins(rows)
        statements: list[Stmt] = list(lets)
        for row in range(down):
            for column in range(across):
                start = (columns.first + column) * EXTENT
                total = self._total(row, column)
                statements.append(MatrixLoad(total, self.weights.bias, start, 0))
        statements += self._taps(origins, rows, columns)
        width = across * EXTENT
        for row in range(down):
            for column in range(across):
                at = index(row * self.grid.rows * width + column * EXTENT)
                statements.append(MatrixStore(self._total(row, column), self.sums, at, width))
        return (*statements, *self._results(rows, columns))

    def _total(self, row: int, column: int) -> Matrix:
        return self.totals[row * self.grid.across + column]

    def _origins(self, rows: _Rows) -> tuple[Block, tuple[Expr, ...]]:
        lets: list[Stmt] = []
        origins: list[Expr] = []
        for line in range(rows.lines):
            for tile in range(rows.tiles):
                is_last = rows.last and tile == rows.tiles - 1
                number = self.product.origin(rows.line + line, self._pixel(rows, tile, is_last))
                base = Var(INDEX, self.context.names.fresh("base"))
                lets.append(Let(base, number))
                origins.append(base)
        return tuple(lets), tuple(origins)

    def _pixel(self, rows: _Rows, tile: int, is_last: bool) -> Expr:
        """The first pixel of a tile."""
        if is_last:
            return index(self.product.extents.pixels - self.grid.rows)
        return (rows.tile + tile) * self.grid.rows

    def _taps(self, origins: tuple[Expr, ...], rows: _Rows, columns: _Columns) -> Block:
        """All products of a block: loops over taps, then over the steps of a run."""
        names, product, grid = self.context.names, self.product, self.grid
        steps = product.extents.run // grid.depth
        words = product.extents.words

        def tap_loop(axis: int, offset: Expr, number: Expr) -> Block:
            if axis == len(product.taps):
                return loop(names, "k", 0, steps, lambda step: one_step(offset, number, step))
            count, distance = product.taps[axis]
            return loop(
                names,
                "y",
                0,
                count,
                lambda tap: tap_loop(axis + 1, offset + tap * distance, number * count + tap),
            )

        def one_step(offset: Expr, run: Expr, step: Expr) -> Block:
            word = (run * steps + step) * (grid.depth * EXTENT)
            x = offset + step * (grid.depth * DotProduct.QUADS.width)
            return self._step(
                tuple(origin + x for origin in origins),
                tuple(
                    (columns.first + column) * (words * EXTENT) + word
                    for column in range(columns.vectors)
                ),
                rows.number,
            )

        return tap_loop(0, index(0), index(0))

    def _step(self, inputs: tuple[Expr, ...], weights: tuple[Expr, ...], block: Expr) -> Block:
        """Loads one matrix for each place of input and weights, and multiplies all pairs."""
        stride = self.product.pixel_stride

        def input_(row: int) -> tuple[Matrix, Stmt]:
            matrix = self.inputs[row % len(self.inputs)]
            return matrix, MatrixLoad(matrix, self.x, inputs[row], stride)

        panels = self.weights.panels

        def factor(column: int) -> tuple[Matrix, tuple[Stmt, ...]]:
            matrix, at = self.factors[column % len(self.factors)], weights[column]
            return matrix, (MatrixLoad(matrix, panels, at, EXTENT), *self._hints(at, block))

        statements: list[Stmt] = []
        if self.grid.across <= self.grid.down:
            held = [factor(column) for column in range(len(weights))]
            statements += [statement for _, parts in held for statement in parts]
            for row in range(len(inputs)):
                x, statement = input_(row)
                statements.append(statement)
                for column, (w, _) in enumerate(held):
                    statements.append(MatrixDot(self._total(row, column), x, w))
            return tuple(statements)
        inputs_held = [input_(row) for row in range(len(inputs))]
        statements += [statement for _, statement in inputs_held]
        for column in range(len(weights)):
            w, parts = factor(column)
            statements += parts
            for row, (x, _) in enumerate(inputs_held):
                statements.append(MatrixDot(self._total(row, column), x, w))
        return tuple(statements)

    def _hints(self, at: Expr, block: Expr) -> Block:
        """Fetches weights in advance, a row of a matrix at a time.

        Blocks of the same columns share what the next columns need; where columns are inside,
        weights a fixed distance ahead are asked for.
        """
        if self.weights_bytes <= _NEAR_WEIGHTS_BYTES:
            return ()
        panels, depth = self.weights.panels, self.grid.depth
        ahead, count = at + _AHEAD_BYTES // panels.dtype.size_bytes, depth
        if self.columns_outside:
            count = -(-depth // self.grid.blocks_down(self.product.extents))
            columns = self.grid.across * self.product.extents.words
            ahead = at + columns * EXTENT + block * (count * EXTENT)
        return tuple(Prefetch(panels, ahead + row * EXTENT) for row in range(count))

    # Results

    def _results(self, rows: _Rows, columns: _Columns) -> Block:
        """What is done with the sums, row by row: tiles of a line follow each other."""
        grid, extents = self.grid, self.product.extents
        statements: Block = ()
        for line in range(rows.lines):
            number = rows.line + line
            parts = [(rows.tile * grid.rows, 0, rows.tiles)]
            if rows.last:
                before = rows.tiles - 1
                parts = [(rows.tile * grid.rows, 0, before)] if before else []
                parts.append((index(extents.pixels - grid.rows), before, 1))
            for pixel, tile, count in parts:
                is_last = rows.last and tile + count == rows.tiles
                skipped = grid.tiles * grid.rows - extents.pixels if is_last else 0
                from_row = (line * rows.tiles + tile) * grid.rows
                bounds = (skipped, count * grid.rows)
                statements += self._rows(number, pixel, from_row, bounds, columns)
        return statements

    def _rows(
        self,
        line: Expr,
        pixel: Expr,
        from_row: int,
        bounds: tuple[int, int],
        columns: _Columns,
    ) -> Block:
        """The results of consecutive rows of sums, which belong to the pixels from `pixel` on."""
        width = columns.vectors * EXTENT

        def one_row(row: Expr) -> Block:
            statements: Block = ()
            for start in range(0, columns.width, self.lanes):

                def element(lane: Expr, start: int = start) -> Block:
                    value = load(self.sums, (row + from_row) * width + (lane + start))
                    column = columns.first * EXTENT + (lane + start)
                    return (self.product.store(line, pixel + row, column, value),)

                lanes = min(self.lanes, columns.width - start)
                statements += lanes_of(self.context.names, index(0), lanes, element)
            return statements

        return loop(self.context.names, "r", bounds[0], bounds[1], one_row)
