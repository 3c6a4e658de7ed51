"""The inner part of every contraction: one register tile, accumulated over the reduction, stored.

Convolutions and matrix products differ only in where a row's input and a column's weights stand;
they say so with two functions, and this file makes the loops.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lepton_cc.codegen.kernel.expr import Const, Expr, Var, index, load, mul_add
from lepton_cc.codegen.kernel.ir import Block, Let, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop
from lepton_cc.codegen.kernel.tile import Tile
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.ir.dtype import DType

# A reduction step of a tile is repeated in place until it has about so many multiply-adds.
_UNROLLED_MULADDS = 64
_MAX_UNROLL = 4


@dataclass(frozen=True, slots=True)
class Accumulators:
    """The registers of one tile: element (row, column) is at row * columns + column."""

    buffer: Buffer
    tile: Tile

    def at(self, row: int, column: Expr) -> Expr:
        """Position of an accumulator."""
        return column + row * self.tile.columns


Combine = Callable[[Expr, Expr, Expr], Expr]


@dataclass(frozen=True, slots=True)
class Steps:
    """Reduction steps that share one loop: `taps` static offsets within each of `depth` steps.

    row_input(row, tap, step, column): what a row multiplies by, or None where it is padding;
    `by_column` says that it differs between columns (depthwise), otherwise it is one scalar.
    weights(tap, step, column): the element of the weights for a column of the tile.
    width: columns of the tile that may be read from the weights.
    combine(input, weights, total): the new total.
    together: steps whose weights share a byte or word; they run in one iteration.
    """

    depth: int
    taps: int
    row_input: Callable[[int, int, Expr, Expr], Expr | None]
    weights: Callable[[int, Expr, Expr], Expr]
    width: int
    by_column: bool = False
    combine: Combine = mul_add
    together: int = 1

    def apart(self) -> tuple["Steps", ...]:
        """The same with steps that share weights as taps of one step, and those left over."""
        whole, rest = divmod(self.depth, self.together)
        parts = (self._part(0, whole, self.together), self._part(self.depth - rest, 1, rest))
        return tuple(part for part in parts if part.depth and part.taps)

    def _part(self, first: int, depth: int, count: int) -> "Steps":
        def member(tap: int, step: Expr) -> Expr:
            return step * count + (first + tap // self.taps)

        return replace(
            self,
            depth=depth,
            taps=self.taps * count,
            row_input=lambda row, tap, step, column: self.row_input(
                row, tap % self.taps, member(tap, step), column
            ),
            weights=lambda tap, step, column: self.weights(
                tap % self.taps, member(tap, step), column
            ),
            together=1,
        )


def accumulators(context: KernelContext, tile: Tile, dtype: DType) -> Accumulators:
    """Registers for a tile."""
    return Accumulators(context.registers("acc", dtype, tile.rows * tile.columns), tile)


def each_vector(
    context: KernelContext, tile: Tile, body: Callable[[Expr], Block], width: int
) -> Block:
    """`body` for the first `width` columns of a tile, a vector at a time."""
    statements: Block = ()
    for start in range(0, width, tile.lanes):
        lanes = min(tile.lanes, width - start)
        statements += lanes_of(context.names, index(start), lanes, body)
    return statements


def initialize(
    context: KernelContext,
    registers: Accumulators,
    initial: Callable[[Expr], Expr] | None,
    width: int,
) -> Block:
    """Sets the first `width` columns of every row to `initial(column)`, zero without it."""
    dtype = registers.buffer.dtype

    def column_body(column: Expr) -> Block:
        start = Const(dtype, 0) if initial is None else initial(column)
        return tuple(
            Store(registers.buffer, registers.at(row, column), start)
            for row in range(registers.tile.rows)
        )

    return each_vector(context, registers.tile, column_body, width)


def accumulate(context: KernelContext, registers: Accumulators, steps: Steps) -> Block:
    """Adds all reduction steps to the accumulators, in order of step, then tap."""
    if steps.together > 1:
        parts = [accumulate(context, registers, part) for part in steps.apart()]
        return tuple(statement for part in parts for statement in part)
    tile = registers.tile
    work = tile.rows * tile.vectors * steps.taps
    unroll = max(1, min(_MAX_UNROLL, _UNROLLED_MULADDS // max(work, 1), steps.depth))
    if context.options.small_code:
        unroll = 1

    def step_body(step: Expr) -> Block:
        statements: Block = ()
        for tap in range(steps.taps):
            statements += _one_tap(context, registers, steps, tap, step)
        return statements

    def unrolled(number: Expr) -> Block:
        statements: Block = ()
        for offset in range(unroll):
            statements += step_body(number * unroll + offset)
        return statements

    whole = steps.depth // unroll
    main = loop(context.names, "k", 0, whole, unrolled)
    return main + loop(context.names, "k", whole * unroll, steps.depth, step_body)


def _one_tap(
    context: KernelContext, registers: Accumulators, steps: Steps, tap: int, step: Expr
) -> Block:
    """Row by row, so that one row's input is live at a time; the weights stay for all rows."""
    statements: Block = ()
    for row in range(registers.tile.rows):
        scalar: Expr | None = None
        if not steps.by_column:
            value = steps.row_input(row, tap, step, index(0))
            if value is None:
                continue
            scalar = Var(value.type, context.names.fresh("x"))
            statements += (Let(scalar, value),)
        statements += _one_row(context, registers, steps, (row, tap, step), scalar)
    return statements


def _one_row(
    context: KernelContext,
    registers: Accumulators,
    steps: Steps,
    at: tuple[int, int, Expr],
    scalar: Expr | None,
) -> Block:
    row, tap, step = at

    def column_body(column: Expr) -> Block:
        factor = scalar if scalar is not None else steps.row_input(row, tap, step, column)
        if factor is None:
            return ()
        place = registers.at(row, column)
        weights = steps.weights(tap, step, column).cast(registers.buffer.dtype)
        total = steps.combine(factor, weights, load(registers.buffer, place))
        return (Store(registers.buffer, place, total),)

    return each_vector(context, registers.tile, column_body, steps.width)
