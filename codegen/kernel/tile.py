"""Register tiles of contractions: rows and vectors of accumulators, chosen by a cost model.

A tile keeps `rows` x `vectors` vector accumulators in registers. Each reduction step loads
`vectors` vectors of weights and `rows` scalars of input, and does rows * vectors multiply-adds.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from lepton_cc.ir.target import Target

# Multiply-adds that a core starts each cycle, loads that it starts, and the latency of one
# multiply-add, in cycles: the shape shared by the cores we generate for, not one core's data sheet.
_MULADDS_PER_CYCLE = 2.0
_LOADS_PER_CYCLE = 2.0
_MULADD_LATENCY = 4.0
_MAX_ROWS = 14
_MAX_VECTORS = 8


@dataclass(frozen=True, slots=True)
class Tile:
    """Accumulators of one register tile: `rows` x `vectors`, each of `lanes` elements."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        """Output channels (matrix columns) of a whole tile."""
        return self.vectors * self.lanes


def narrowed_lanes(columns: int, lanes: int) -> int:
    """Lanes for that many columns: no wider than the next power of two."""
    return min(lanes, 1 << max(0, columns - 1).bit_length())


def padded_columns(columns: int, tile: Tile) -> int:
    """Columns with the last block widened to whole vectors."""
    whole, rest = divmod(columns, tile.columns)
    return whole * tile.columns + -(-rest // tile.lanes) * tile.lanes


def balanced_counts(extent: int, largest: int) -> tuple[tuple[int, int], ...]:
    """(size, count) of the fewest parts of at most `largest` that cover `extent`.

    The parts are as equal as can be: at most two sizes, larger first.
    """
    if extent == 0:
        return ()
    count = -(-extent // largest)
    small, extra = divmod(extent, count)
    parts = ((small + 1, extra), (small, count - extra))
    return tuple((size, number) for size, number in parts if number)


def balanced_parts(extent: int, largest: int) -> tuple[int, ...]:
    """The sizes of `balanced_counts`, one for each part."""
    return tuple(size for size, count in balanced_counts(extent, largest) for _ in range(count))


def _step_cycles(rows: int, vectors: int, *, broadcast_loads: bool) -> float:
    muladds = rows * vectors
    loads = vectors + (muladds if broadcast_loads and vectors == 1 else rows)
    return max(_MULADD_LATENCY, muladds / _MULADDS_PER_CYCLE, loads / _LOADS_PER_CYCLE)


def _candidates(rows: int, columns: int, lanes: int, registers: int) -> Iterator[Tile]:
    most_vectors = min(_MAX_VECTORS, -(-columns // lanes))
    for vectors in range(1, most_vectors + 1):
        for tile_rows in range(1, min(_MAX_ROWS, rows) + 1):
            # One register holds the scalar that a row multiplies by.
            if tile_rows * vectors + vectors + 1 <= registers or (tile_rows, vectors) == (1, 1):
                yield Tile(tile_rows, vectors, lanes)


@functools.cache
def choose_tile(rows: int, columns: int, lanes: int, target: Target, *, spare: int = 0) -> Tile:
    """The tile with the fewest estimated cycles over a [rows, columns] result.

    It leaves `spare` vector registers free. Of equals the one with more accumulators wins, then the
    one with more rows.
    """

    def cost(tile: Tile) -> tuple[float, int, int]:
        cycles = 0.0
        for tile_rows, row_count in balanced_counts(rows, tile.rows):
            whole, rest = divmod(columns, tile.columns)
            for width, block_count in ((tile.columns, whole), (rest, 1)):
                vectors = -(-width // lanes)
                step = _step_cycles(tile_rows, vectors, broadcast_loads=target.broadcast_loads)
                cycles += row_count * block_count * step if width else 0.0
        return (cycles, -tile.rows * tile.vectors, -tile.rows)

    registers = max(target.vector_registers - spare, 4)
    return min(_candidates(rows, columns, lanes, registers), key=cost)
