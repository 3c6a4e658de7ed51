"""Lowering of matrix multiplication: tiles of rows by columns; constant right sides are packed."""

import math
from collections.abc import Callable

from lepton_cc.codegen.kernel.expr import Expr, Var, index, load
from lepton_cc.codegen.kernel.ir import Block, Let, Stmt
from lepton_cc.codegen.kernel.schedule import loop, nest, pieces
from lepton_cc.codegen.kernel.tile import Tile, balanced_counts, choose_tile, narrowed_lanes
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.contraction import (
    Steps,
    accumulate,
    accumulators,
    each_vector,
    initialize,
)
from lepton_cc.codegen.lower.dot import MIN_LANES, DotWeights, dot_weights, usable_dot
from lepton_cc.codegen.lower.matrix import Product, lower_product, matrix_grid, result_lanes
from lepton_cc.codegen.lower.matrix_grid import Contraction
from lepton_cc.codegen.lower.packing import ConvWeights, conv_weights
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import delinearize, linearize
from lepton_cc.codegen.lower.sparse_matmul import lower_sparse_matmul
from lepton_cc.codegen.lower.threads import Rate, worth_threads
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.target import DotProduct

# Rows are cut into pieces of about this many tiles, so that a block of weights is used again.
_TILES_A_PIECE = 4


def lower_matmul(context: KernelContext) -> Block:
    """Lowers MatMul: batch dimensions outside, then pieces of rows, column blocks, row tiles."""
    lhs, rhs = context.source(0).type.dims, context.source(1).type.dims
    result = context.sink.type.dims
    if math.prod(rhs[:-2]) == 1:
        # One right side for all: the batch is nothing but more rows.
        rows, depth, columns = math.prod(lhs[:-1]), lhs[-1], rhs[-1]
        by_lists = lower_sparse_matmul(context, rows, depth)
        if by_lists is not None:
            return by_lists
        by_matrices = _by_matrices(context, rows, depth, columns)
        if by_matrices is not None:
            return by_matrices
        return _MatMulLowering(context, (), rows, depth, columns).body()
    return _MatMulLowering(context, result[:-2], result[-2], lhs[-1], rhs[-1]).body()


def _by_matrices(context: KernelContext, rows: int, depth: int, columns: int) -> Block | None:
    """The loops of the product on the target's matrix unit; None if others are faster."""
    kind, sink = context.op.kind, context.sink
    assert isinstance(kind, MatMul)
    words = depth // DotProduct.QUADS.width
    extents = Contraction(1, rows, words, words, columns, result_lanes(context))
    dot = DotProduct.NONE if kind.rhs_zero_point else usable_dot(context, depth)
    grid = matrix_grid(context, extents) if dot is DotProduct.QUADS else None
    if grid is None:
        return None

    def store(line: Expr, row: Expr, column: Expr, value: Expr) -> Stmt:
        at = (*delinearize(row, sink.type.dims[:-1]), column)
        return sink.store_linear(row * columns + column, at, value)

    product = Product(extents, kind.lhs_zero_point, lambda line, row: row * depth, depth, (), store)
    num_results = rows * columns
    parallel = worth_threads(context, num_results * depth, num_results, Rate.MATRICES)
    return lower_product(context, product, grid, parallel=parallel)


class _MatMulLowering:
    """The loops of one matrix product [batch, rows, depth] x [batch, depth, columns]."""

    def __init__(
        self,
        context: KernelContext,
        batch: tuple[int, ...],
        rows: int,
        depth: int,
        columns: int,
    ) -> None:
        kind = context.op.kind
        assert isinstance(kind, MatMul)
        self.kind = kind
        self.context, self.batch = context, batch
        self.rows, self.depth, self.columns = rows, depth, columns
        self.dtype = compute_type(context.op.result.type.dtype)
        self.shared = not batch
        dot = usable_dot(context, depth) if self.shared else DotProduct.NONE
        if kind.rhs_zero_point:
            dot = DotProduct.NONE
        lanes = narrowed_lanes(columns, context.lanes(self.dtype))
        lanes = max(lanes, MIN_LANES) if dot is not DotProduct.NONE else lanes
        self.tile = Tile(1, 1, lanes)
        if context.options.tile:
            self.tile = choose_tile(rows, columns, lanes, context.target)
        self.weights: ConvWeights | None = None
        self.dot: DotWeights | None = None
        if dot is not DotProduct.NONE:
            self.dot = dot_weights(context, dot, columns, self.tile, kind.lhs_zero_point)
        elif self.shared:
            self.weights = conv_weights(
                context, groups=1, channels=depth, filters=columns, taps=1, tile=self.tile
            )

    def body(self) -> Block:
        """All loops."""
        num_results = math.prod(self.batch) * self.rows * self.columns
        # Few rows wait for the weights.
        by_words = self.dot is not None and self.rows >= _TILES_A_PIECE
        rate = Rate.WORDS if by_words else Rate.ELEMENTS
        parallel = worth_threads(self.context, num_results * self.depth, num_results, rate)
        piece = self.tile.rows * _TILES_A_PIECE
        whole = self.rows // piece if self.rows >= 2 * piece else 0
        rest = self.rows - whole * piece

        def matrix(batch: tuple[Expr, ...], *, split: bool) -> Block:
            return pieces(
                self.context.names,
                whole,
                lambda number: self._blocks(batch, number * piece, piece),
                (lambda: self._blocks(batch, index(whole * piece), rest)) if rest else None,
                parallel=split,
            )

        if math.prod(self.batch) == 1:
            only = (index(0),) * len(self.batch)
            if parallel and whole == 0 and self.columns > self.tile.columns:
                return self._blocks(only, index(0), rest, parallel=True)
            return matrix(only, split=parallel)
        return nest(
            self.context.names,
            self.batch,
            lambda batch: matrix(batch, split=False),
            parallel=parallel,
        )

    def _blocks(
        self, batch: tuple[Expr, ...], first_row: Expr, rows: int, *, parallel: bool = False
    ) -> Block:
        whole, rest = divmod(self.columns, self.tile.columns)

        def block_body(block: Expr, width: int) -> Block:
            statements: Block = ()
            start = 0
            for size, count in balanced_counts(rows, self.tile.rows):
                origin = first_row + start

                def one(number: Expr, size: int = size, origin: Expr = origin) -> Block:
                    return self._tile(batch, origin + number * size, size, block, width)

                statements += loop(self.context.names, "t", 0, count, one)
                start += size * count
            return statements

        return pieces(
            self.context.names,
            whole,
            lambda block: block_body(block, self.tile.columns),
            (lambda: block_body(index(whole), rest)) if rest else None,
            parallel=parallel,
        )

    def _tile(
        self, batch: tuple[Expr, ...], row: Expr, size: int, block: Expr, width: int
    ) -> Block:
        context = self.context
        tile = Tile(size, -(-width // self.tile.lanes), self.tile.lanes)
        registers = accumulators(context, tile, self.dtype)
        packed = self.dot is not None or (self.weights is not None and self.weights.packed)
        readable = tile.columns if packed else width
        lhs_base, lets = self._bases(batch, row)
        statements = lets + initialize(context, registers, self._bias(block), readable)
        if self.dot is not None:
            steps = self._dot_steps(self.dot, lhs_base, block, readable)
        else:
            steps = self._steps(batch, lhs_base, block, readable)
        statements += accumulate(context, registers, steps)
        first_column = block * self.tile.columns

        def store(column: Expr) -> Block:
            stores: Block = ()
            for number in range(size):
                value = load(registers.buffer, registers.at(number, column))
                stores += (self._store(batch, row + number, first_column + column, value),)
            return stores

        return statements + each_vector(context, tile, store, width)

    def _bias(self, block: Expr) -> Callable[[Expr], Expr] | None:
        if self.dot is not None:
            return self.dot.bias_of(block)
        if self.weights is not None:
            return self.weights.bias(index(0), block)
        source = self.context.optional_source(2)
        if source is None:
            return None
        return lambda column: source.at_linear(block * self.tile.columns + column)

    def _steps(self, batch: tuple[Expr, ...], lhs_base: Expr, block: Expr, readable: int) -> Steps:
        lhs, first_column = self.context.source(0), block * self.tile.columns

        def row_input(number: int, tap: int, step: Expr, column: Expr) -> Expr:
            value = lhs.at_linear(lhs_base + step + number * self.depth).cast(self.dtype)
            return value - self.kind.lhs_zero_point if self.kind.lhs_zero_point else value

        def weights(tap: int, step: Expr, column: Expr) -> Expr:
            if self.weights is not None:
                value = self.weights.at(index(0), block, readable, index(0), step, column)
            else:
                place = (self._batch_base(1, batch) + step) * self.columns
                value = self.context.source(1).at_linear(place + first_column + column)
            wide = value.cast(self.dtype)
            return wide - self.kind.rhs_zero_point if self.kind.rhs_zero_point else wide

        together = 1 if self.weights is None else self.weights.steps_a_byte
        return Steps(self.depth, 1, row_input, weights, readable, together=together)

    def _dot_steps(self, dot: DotWeights, lhs_base: Expr, block: Expr, readable: int) -> Steps:
        lhs, width = self.context.direct_buffer(0), dot.dot.width
        return Steps(
            self.depth // width,
            1,
            lambda row, tap, step, lane: dot.word(lhs, lhs_base + step * width + row * self.depth),
            lambda tap, step, lane: dot.at(block, readable, step, lane),
            readable,
            combine=dot.combine,
            together=dot.steps_a_word,
        )

    def _bases(self, batch: tuple[Expr, ...], row: Expr) -> tuple[Expr, Block]:
        base = Var(INDEX, self.context.names.fresh("base"))
        if self.shared:
            return base, (Let(base, row * self.depth),)
        return base, (Let(base, (self._batch_base(0, batch) + row) * self.depth),)

    def _batch_base(self, operand: int, batch: tuple[Expr, ...]) -> Expr:
        """The number of rows of an operand that stand before its matrix for a batch index."""
        dims = self.context.source(operand).type.dims
        own = batch[len(batch) - (len(dims) - 2) :] if len(dims) > 2 else ()
        clipped = tuple(
            index(0) if dim == 1 else at for at, dim in zip(own, dims[:-2], strict=True)
        )
        return linearize(clipped, dims[:-2]) * dims[-2]

    def _store(self, batch: tuple[Expr, ...], row: Expr, column: Expr, value: Expr) -> Stmt:
        sink = self.context.sink
        if self.shared:
            at = (*delinearize(row, sink.type.dims[:-1]), column)
            return sink.store_linear(row * self.columns + column, at, value)
        return sink.store((*batch, row, column), value)
