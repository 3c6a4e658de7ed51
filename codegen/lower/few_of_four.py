"""Weights of which at most two, or one, in four neighbouring rows are not zero: n of four.

[n values for each four rows of a column], [2 bits for each value: which of the four rows], four
positions to a byte, column by column. Nothing says where a list ends, so that there are no loops
of unknown length; a byte of positions serves eight rows, or sixteen.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, Var, load
from lepton_cc.codegen.kernel.ir import Block, Let
from lepton_cc.codegen.kernel.schedule import loop
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.codegen.lower.sparse_product import SparseTile
from lepton_cc.ir.dtype import DType

_GROUP, _MOST_KEPT = 4, 2
_VALUES_A_BYTE = 4


@dataclass(frozen=True, slots=True)
class FewOfFourForm:
    """Segments of so many rows; `kept` of each four are stored, `num_values` in all."""

    kept: int
    segments: int
    depth: int
    width: int
    num_values: int
    size_bytes: int

    @property
    def rounds(self) -> int:
        """Bytes of positions of a column of a segment."""
        return self.depth * self.kept // (_GROUP * _VALUES_A_BYTE)


def few_of_four_form(layer: SparseLayer) -> FewOfFourForm | None:
    """The form of a layer; None if it does not have such zeros in inputs that are neighbours."""
    segments, depth, width = layer.weights.shape
    if depth % _GROUP or not np.array_equal(layer.places, np.arange(depth)):
        return None
    groups = layer.weights.reshape(segments, depth // _GROUP, _GROUP, width)
    kept = int(np.count_nonzero(groups, axis=2).max(initial=0))
    if not 0 < kept <= _MOST_KEPT or depth * kept % (_GROUP * _VALUES_A_BYTE):
        return None
    values = layer.weights.size * kept // _GROUP
    size = values * layer.weights.itemsize + values // _VALUES_A_BYTE
    return FewOfFourForm(kept, segments, depth, width, values, size)


@dataclass(frozen=True, slots=True)
class FewOfFourWeights:
    """Values and positions in flash; `unrolled` bytes of positions are one iteration."""

    form: FewOfFourForm
    values: Buffer
    positions: Buffer
    unrolled: int
    columns: int = 1
    parts: int = 1
    static_bands: bool = False

    @property
    def num_bands(self) -> int:
        """Every column is a band."""
        return self.form.width

    def accumulate_segment(self, tile: SparseTile, segment: Expr, first: Expr) -> Block:
        """Adds a column of a segment, a byte of positions at a time."""
        names, kept, rounds = tile.context.names, self.form.kept, self.form.rounds
        begin = (tile.band * self.form.segments + segment) * rounds

        def some_rows(number: Expr) -> Block:
            at, x = Var(INDEX, names.fresh("at")), Var(INDEX, names.fresh("first"))
            byte = Var(DType.I32, names.fresh("positions"))
            lets = (
                Let(at, begin + number),
                Let(x, first + number * (_VALUES_A_BYTE // kept * _GROUP)),
                Let(byte, load(self.positions, at).cast(DType.I32)),
            )
            inputs = tuple(
                x + _position(byte, place) + place // kept * _GROUP
                for place in range(_VALUES_A_BYTE)
            )

            def weights(place: int, column: Expr) -> Expr:
                return load(self.values, at * _VALUES_A_BYTE + place)

            return (*lets, *tile.add(0, inputs, weights))

        def several(number: Expr) -> Block:
            each = (some_rows(number * self.unrolled + place) for place in range(self.unrolled))
            return tuple(statement for block in each for statement in block)

        return loop(names, "k", 0, rounds // self.unrolled, several)


def _position(byte: Expr, place: int) -> Expr:
    shifted = byte >> (2 * place) if place else byte
    return (shifted & (_GROUP - 1)).cast(INDEX)


def few_of_four_weights(
    context: KernelContext, layer: SparseLayer, form: FewOfFourForm, unrolled: int
) -> FewOfFourWeights:
    """Stores a layer that has such zeros."""
    groups = layer.weights.reshape(form.segments, form.depth // _GROUP, _GROUP, form.width)
    by_column = groups.transpose(3, 0, 1, 2)
    # Rows that are not zero come first; where there are too few of them, zeros fill up.
    order = np.argsort(by_column == 0, axis=-1, kind="stable")[..., : form.kept]
    order = np.sort(order, axis=-1)
    values = np.take_along_axis(by_column, order, axis=-1)
    fields = order.reshape(-1, _VALUES_A_BYTE).astype(np.uint8)
    positions = np.zeros(len(fields), np.uint8)
    for place in range(_VALUES_A_BYTE):
        positions |= fields[:, place] << (2 * place)
    return FewOfFourWeights(
        form,
        context.constant(np.ascontiguousarray(values.reshape(-1))),
        context.constant(positions),
        unrolled,
    )
