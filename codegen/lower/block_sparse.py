"""Weights with many zeros, stored without them: blocks of neighbouring rows and columns.

Columns are cut into bands as wide as a block, and each band lists the row groups that have anything
in it: [begin of each band], [number of the row group], [its weights, row by row]. Zeros inside of a
listed block stay. Wide blocks are one vector or one word each, so that an index serves many
weights; narrow ones store less. The zeros that are there decide which is best.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.ir import INDEX, Buffer, Expr, load
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.ir.tensor import Array

# What a dense multiply-add takes, by estimate, where an index of a list takes one: reading the
# index, making an address, reading the input.
_CYCLES_AN_INDEX = 3.0


@dataclass(frozen=True, slots=True)
class BlockForm:
    """Blocks of rows x columns; how many there are with a weight that is not zero."""

    rows: int
    columns: int
    num_blocks: int
    num_bands: int

    def cycles(self, lanes: int) -> float:
        """Estimated time: an index each, and vectors of `lanes` weights."""
        return self.num_blocks * (_CYCLES_AN_INDEX + self.rows * -(-self.columns // lanes) * 2.0)

    def size_bytes(self, index_bytes: int, weight_bytes: int) -> int:
        """Bytes in flash."""
        each = index_bytes + self.rows * self.columns * weight_bytes
        return self.num_blocks * each + 2 * (self.num_bands + 1)


def block_form(weights: Array, rows: int, columns: int) -> BlockForm:
    """The form of a matrix [depth, width] in blocks that divide it."""
    depth, width = weights.shape
    grid = weights.reshape(depth // rows, rows, width // columns, columns)
    return BlockForm(rows, columns, int(np.count_nonzero(grid.any(axis=(1, 3)))), width // columns)


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """The lists of a matrix in flash."""

    form: BlockForm
    bands: Buffer
    numbers: Buffer
    weights: Buffer

    def begin(self, band: Expr) -> Expr:
        """The first entry of a band's list; that of the next band ends it."""
        return load(self.bands, band).cast(INDEX)

    def row(self, entry: Expr) -> Expr:
        """The first row of an entry's block."""
        return load(self.numbers, entry).cast(INDEX) * self.form.rows

    def at(self, entry: Expr, row: int, column: Expr) -> Expr:
        """A weight of an entry's block."""
        form = self.form
        first = entry * (form.rows * form.columns) + row * form.columns
        return load(self.weights, first + column)


def block_weights(context: KernelContext, weights: Array, form: BlockForm) -> BlockWeights:
    """Stores a matrix [depth, width] as lists."""
    depth, width = weights.shape
    grid = weights.reshape(depth // form.rows, form.rows, width // form.columns, form.columns)
    by_band = np.ascontiguousarray(grid.transpose(2, 0, 1, 3))
    used = by_band.any(axis=(2, 3))
    bands = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    numbers = np.nonzero(used)[1]
    kept = by_band[used]
    return BlockWeights(
        form,
        context.constant(bands.astype(np.uint16 if bands[-1] < 1 << 16 else np.int32)),
        context.constant(numbers.astype(np.uint8 if depth // form.rows <= 256 else np.uint16)),
        context.constant(kept.reshape(-1)),
    )
