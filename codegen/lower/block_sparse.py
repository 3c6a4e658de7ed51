"""Weights with many zeros, stored without them: blocks of neighbouring rows and columns.

Columns are cut into bands as wide as a block. Each band lists, segment by segment, the row groups
that have anything in it: [begin of each list], [place of the row group in the input], [its
weights, row by row]. Zeros inside of a listed block stay. Wide blocks are one vector or one word
each, so that a place serves many weights; narrow ones store less. The zeros that are there decide
which is best.

A segment is a set of rows whose places count from an input of its own: a tap of a convolution with
padding, else all rows.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, Var, load
from lepton_cc.codegen.kernel.ir import Block, Let
from lepton_cc.codegen.kernel.schedule import loop
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.codegen.lower.sparse_product import SparseTile
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class BlockForm:
    """Blocks of rows x columns; how many there are with a weight that is not zero.

    num_lists: segments of all bands. size_bytes: all of it, in flash.
    """

    rows: int
    columns: int
    num_blocks: int
    num_lists: int
    size_bytes: int


def block_form(layer: SparseLayer, rows: int, columns: int) -> BlockForm:
    """The form of a layer in blocks that divide it."""
    num_blocks = int(np.count_nonzero(_grid(layer, rows, columns).any(axis=(2, 4))))
    num_lists = layer.weights.shape[2] // columns * len(layer.weights)
    a_place = _numbers(layer.places[::rows])[0].itemsize
    blocks = num_blocks * (a_place + rows * columns * layer.weights.itemsize)
    return BlockForm(
        rows, columns, num_blocks, num_lists, blocks + (num_lists + 1) * _begin_bytes(num_blocks)
    )


def _grid(layer: SparseLayer, rows: int, columns: int) -> Array:
    """The weights as [segment, row of blocks, row, band, column]."""
    segments, depth, width = layer.weights.shape
    return layer.weights.reshape(segments, depth // rows, rows, width // columns, columns)


def _begin_bytes(num_blocks: int) -> int:
    return 2 if num_blocks < 1 << 16 else 4


def _numbers(places: Array) -> tuple[Array, int]:
    """Places as small integers, and what they are multiples of."""
    unit = math.gcd(*places.tolist()) or 1
    numbers = places // unit
    small = np.uint8 if numbers.max(initial=0) < 1 << 8 else np.uint16
    return numbers.astype(small if numbers.max(initial=0) < 1 << 16 else np.int32), unit


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """The lists of a layer in flash; places are multiples of `unit`.

    `unrolled` entries of a list are one iteration, which share out between `parts` of the sums.
    """

    form: BlockForm
    segments: int
    num_bands: int
    unit: int
    begins: Buffer
    places: Buffer
    weights: Buffer
    unrolled: int
    parts: int
    static_bands: bool = False

    @property
    def columns(self) -> int:
        """Columns of a band."""
        return self.form.columns

    def accumulate_segment(self, tile: SparseTile, segment: Expr, first: Expr) -> Block:
        """Adds the blocks of a list."""
        names, unrolled = tile.context.names, self.unrolled
        number = tile.band * self.segments + segment
        begin, end = Var(INDEX, names.fresh("begin")), Var(INDEX, names.fresh("end"))
        lets = (
            Let(begin, load(self.begins, number).cast(INDEX)),
            Let(end, load(self.begins, number + 1).cast(INDEX)),
        )
        if unrolled == 1:
            one_by_one = loop(names, "e", begin, end, lambda at: self._entry(tile, first, at, 0))
            return (*lets, *one_by_one)
        middle = Var(INDEX, names.fresh("middle"))

        def several(round_: Expr) -> Block:
            statements: Block = ()
            for place in range(unrolled):
                statements += self._entry(tile, first, begin + round_ * unrolled + place, place)
            return statements

        whole = (end - begin) // unrolled
        return (
            *lets,
            Let(middle, begin + whole * unrolled),
            *loop(names, "r", 0, whole, several),
            *loop(names, "e", middle, end, lambda at: self._entry(tile, first, at, 0)),
        )

    def _entry(self, tile: SparseTile, first: Expr, at: Expr, part: int) -> Block:
        """Adds one block: its inputs, each times its row of weights."""
        form, names = self.form, tile.context.names
        which, x = Var(INDEX, names.fresh("which")), Var(INDEX, names.fresh("first"))
        lets = (
            Let(which, at),
            Let(x, first + load(self.places, which).cast(INDEX) * self.unit),
        )
        inputs = tuple(x + row * tile.product.operands.row_stride for row in range(form.rows))

        def weights(row: int, column: Expr) -> Expr:
            place = which * (form.rows * form.columns) + row * form.columns
            return load(self.weights, place + column)

        return (*lets, *tile.add(part, inputs, weights))


def block_weights(
    context: KernelContext, layer: SparseLayer, form: BlockForm, unrolled: int, parts: int
) -> BlockWeights:
    """Stores a layer as lists."""
    grid = _grid(layer, form.rows, form.columns)
    by_band = np.ascontiguousarray(grid.transpose(3, 0, 1, 2, 4))
    used = by_band.any(axis=(3, 4))
    begins = np.concatenate([[0], np.cumsum(used.sum(axis=2).reshape(-1))])
    numbers, unit = _numbers(layer.places[:: form.rows])
    begin_type = np.uint16 if _begin_bytes(form.num_blocks) == np.uint16().itemsize else np.int32
    return BlockWeights(
        form,
        len(layer.weights),
        len(by_band),
        unit,
        context.constant(begins.astype(begin_type)),
        context.constant(numbers[np.nonzero(used)[2]]),
        context.constant(by_band[used].reshape(-1)),
        unrolled,
        parts,
    )
