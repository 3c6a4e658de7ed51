"""How a contraction is cut for a matrix unit: the shape of its registers, chosen by a cost model.

A block is `down` x `across` accumulators of `rows` x 16 words. Each step of `depth` words loads
`down` matrices of input and `across` of weights, and multiplies them all.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

# A register holds at most 16 rows of 16 words.
EXTENT = 16
# Cycles, measured on a Sapphire Rapids core (3.5 GHz): a product takes one for each row of the
# input, but no fewer than these; two rows are loaded in one, of which that part does not overlap.
_LEAST_PRODUCT_CYCLES = 9.0
_ROWS_LOADED_PER_CYCLE = 2.0
_LOADS_NOT_HIDDEN = 0.6
# What one matrix of weights costs more if the block's do not stay in the nearest cache.
_FAR_WEIGHTS_CYCLES = 6.0
_NEAR_WEIGHTS_BYTES = 32 << 10
# Beginning and ending a block; a result vector's way through memory, and what it costs more if it
# is not one of as many as are finished at once; the shapes of the registers.
_BLOCK_CYCLES = 80.0
_RESULT_CYCLES = 2.0
_ODD_RESULT_CYCLES = 2.0
_KERNEL_CYCLES = 250.0
# A vector unit that adds products of quads: vectors a cycle, and the part of it that is reached.
_VECTORS_PER_CYCLE = 2.0
_VECTORS_REACHED = 0.85


@dataclass(frozen=True, slots=True)
class Contraction:
    """The extents of a contraction: `lines` of `pixels` rows, `words` to add up, `columns`.

    run: words of the input that lie side by side, of which a step takes a part. results: how many
    neighbours the code that finishes and stores them takes at once.
    """

    lines: int
    pixels: int
    words: int
    run: int
    columns: int
    results: int = EXTENT

    @property
    def column_vectors(self) -> int:
        """Columns in units of a register's."""
        return -(-self.columns // EXTENT)


@dataclass(frozen=True, slots=True)
class Grid:
    """`down` x `across` accumulators of `rows` rows; a line is `tiles` of them.

    depth: words of one step.
    """

    rows: int
    tiles: int
    down: int
    across: int
    depth: int

    @property
    def lines(self) -> int:
        """Whole lines that a block takes; 1 if it takes a part of one."""
        return max(1, self.down // self.tiles)

    @property
    def tiles_down(self) -> int:
        """Tiles of one line that a block takes."""
        return min(self.down, self.tiles)

    def blocks_down(self, extents: Contraction) -> int:
        """Blocks that cover all rows."""
        return sum(count for _, count in _parts_down(extents, self))


def vector_cycles(extents: Contraction) -> float:
    """Estimated cycles of a vector unit, without what comes after the sums."""
    vectors = extents.lines * extents.pixels * extents.column_vectors
    return vectors * extents.words / (_VECTORS_PER_CYCLE * _VECTORS_REACHED)


def matrix_cycles(extents: Contraction, grid: Grid) -> float:
    """Estimated cycles of a matrix unit, without what comes after the sums."""
    steps = extents.words // grid.depth
    cycles = _KERNEL_CYCLES
    for down, blocks_down in _parts_down(extents, grid):
        whole, rest = divmod(extents.column_vectors, grid.across)
        for across, blocks_across in ((grid.across, whole), (rest, 1)):
            if across:
                block = steps * _step_cycles(extents, grid, down, across)
                odd = across % (extents.results // EXTENT)
                results = across * _RESULT_CYCLES + odd * _ODD_RESULT_CYCLES
                block += _BLOCK_CYCLES + down * grid.rows * results
                cycles += blocks_down * blocks_across * block
    return cycles


def _parts_down(extents: Contraction, grid: Grid) -> Iterator[tuple[int, int]]:
    """(accumulators down, how many) of the blocks that cover all rows."""
    whole, rest = divmod(grid.tiles, grid.tiles_down)
    if whole == 1 and not rest:
        groups, left = divmod(extents.lines, grid.lines)
        yield grid.lines * grid.tiles, groups
        if left:
            yield left * grid.tiles, 1
        return
    yield grid.tiles_down, extents.lines * whole
    if rest:
        yield rest, extents.lines


def _step_cycles(extents: Contraction, grid: Grid, down: int, across: int) -> float:
    products = down * across * max(float(grid.rows), _LEAST_PRODUCT_CYCLES)
    loads = (down * grid.rows + across * grid.depth) / _ROWS_LOADED_PER_CYCLE
    far = extents.words * across * EXTENT * 4 > _NEAR_WEIGHTS_BYTES
    return products + _LOADS_NOT_HIDDEN * loads + far * across * _FAR_WEIGHTS_CYCLES


def candidates(extents: Contraction, registers: int) -> Iterator[Grid]:
    """Every grid that the registers have room for."""
    depth = max(d for d in range(1, EXTENT + 1) if extents.run % d == 0)
    fewest = -(-extents.pixels // EXTENT)
    for tiles in range(fewest, min(fewest + 3, extents.pixels + 1)):
        rows = -(-extents.pixels // tiles)
        if rows * (tiles - 1) >= extents.pixels:
            continue
        for down in range(1, registers - 2):
            for across in range(1, min(registers - 2, extents.column_vectors) + 1):
                fits = down * across + min(down, across) + 1 <= registers
                whole_lines = down % tiles == 0 and down // tiles <= extents.lines
                if fits and (down < tiles or whole_lines):
                    yield Grid(rows, tiles, down, across, depth)


@functools.cache
def choose_grid(extents: Contraction, registers: int) -> Grid:
    """The grid with the fewest estimated cycles; of equals the one with more columns."""
    return min(
        candidates(extents, registers),
        key=lambda grid: (matrix_cycles(extents, grid), -grid.across, -grid.down),
    )
