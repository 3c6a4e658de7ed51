"""Weights of which at most two in four neighbouring rows are not zero: values and positions.

[two values for each four rows of a column], [2 bits for each value: which of the four rows], four
positions to a byte, column by column. Nothing says where a list ends, so that there are no loops
of unknown length; a byte of positions serves eight rows.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.ir import INDEX, Block, Buffer, Expr, Let, Var, load
from lepton_cc.codegen.kernel.schedule import loop
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.codegen.lower.sparse_product import SparseTile
from lepton_cc.ir.dtype import DType

_GROUP, _KEPT = 4, 2
# Rows whose positions share a byte, and values that they have at most.
_ROWS_A_BYTE, _VALUES_A_BYTE = 8, 4


@dataclass(frozen=True, slots=True)
class TwoOfFourForm:
    """Segments of so many rows, each column with such zeros. num_values: those that are stored."""

    segments: int
    depth: int
    width: int
    num_values: int
    size_bytes: int


def two_of_four_form(layer: SparseLayer) -> TwoOfFourForm | None:
    """The form of a layer; None if it does not have such zeros in inputs that are neighbours."""
    segments, depth, width = layer.weights.shape
    if depth % _ROWS_A_BYTE or not np.array_equal(layer.places, np.arange(depth)):
        return None
    groups = layer.weights.reshape(segments, depth // _GROUP, _GROUP, width)
    if np.count_nonzero(groups, axis=2).max(initial=0) > _KEPT:
        return None
    values = layer.weights.size * _KEPT // _GROUP
    size = values * layer.weights.itemsize + values // _VALUES_A_BYTE
    return TwoOfFourForm(segments, depth, width, values, size)


@dataclass(frozen=True, slots=True)
class TwoOfFourWeights:
    """Values and positions in flash."""

    form: TwoOfFourForm
    values: Buffer
    positions: Buffer
    columns: int = 1
    parts: int = 1
    static_bands: bool = False

    @property
    def num_bands(self) -> int:
        """Every column is a band."""
        return self.form.width

    def accumulate_segment(self, tile: SparseTile, segment: Expr, first: Expr) -> Block:
        """Adds a column of a segment, eight rows at a time."""
        names, rounds = tile.context.names, self.form.depth // _ROWS_A_BYTE
        begin = (tile.band * self.form.segments + segment) * rounds

        def eight_rows(number: Expr) -> Block:
            at, x = Var(INDEX, names.fresh("at")), Var(INDEX, names.fresh("first"))
            byte = Var(DType.I32, names.fresh("positions"))
            lets = (
                Let(at, begin + number),
                Let(x, first + number * _ROWS_A_BYTE),
                Let(byte, load(self.positions, at).cast(DType.I32)),
            )
            inputs = tuple(
                x + _position(byte, place) + place // _KEPT * _GROUP
                for place in range(_VALUES_A_BYTE)
            )

            def weights(place: int, column: Expr) -> Expr:
                return load(self.values, at * _VALUES_A_BYTE + place)

            return (*lets, *tile.add(0, inputs, weights))

        return loop(names, "k", 0, rounds, eight_rows)


def _position(byte: Expr, place: int) -> Expr:
    shifted = byte >> (2 * place) if place else byte
    return (shifted & (_GROUP - 1)).cast(INDEX)


def two_of_four_weights(
    context: KernelContext, layer: SparseLayer, form: TwoOfFourForm
) -> TwoOfFourWeights:
    """Stores a layer that has such zeros."""
    groups = layer.weights.reshape(form.segments, form.depth // _GROUP, _GROUP, form.width)
    by_column = groups.transpose(3, 0, 1, 2)
    # Rows that are not zero come first; where there are fewer than two of them, zeros fill up.
    order = np.argsort(by_column == 0, axis=-1, kind="stable")[..., :_KEPT]
    order = np.sort(order, axis=-1)
    values = np.take_along_axis(by_column, order, axis=-1)
    fields = order.reshape(-1, _VALUES_A_BYTE).astype(np.uint8)
    positions = np.zeros(len(fields), np.uint8)
    for place in range(_VALUES_A_BYTE):
        positions |= fields[:, place] << (2 * place)
    return TwoOfFourWeights(
        form,
        context.constant(np.ascontiguousarray(values.reshape(-1))),
        context.constant(positions),
    )
