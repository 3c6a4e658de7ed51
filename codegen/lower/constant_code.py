"""Few weights, written into the code: a multiply-add with an immediate each; zeros are not there.

For layers so small that loops, addresses and loads of weights take most of their time and bytes.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, Var, index, load
from lepton_cc.codegen.kernel.ir import Block, Let, Store
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.codegen.lower.sparse_product import SparseTile
from lepton_cc.ir.tensor import Array

# Sums that are in registers at once.
_MOST_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class ConstantForm:
    """So many weights that are not zero, in bands of `columns`."""

    num_weights: int
    columns: int
    num_bands: int


def constant_form(layer: SparseLayer) -> ConstantForm | None:
    """The form of a layer; None if its taps are not the same for all pixels."""
    width = layer.weights.shape[-1]
    if layer.is_padded:
        return None
    columns = max(c for c in range(1, _MOST_COLUMNS + 1) if width % c == 0)
    return ConstantForm(int(np.count_nonzero(layer.weights)), columns, width // columns)


@dataclass(frozen=True, slots=True)
class ConstantWeights:
    """Weights [depth, width]; places: the input element of each row."""

    form: ConstantForm
    weights: Array
    places: Array
    parts: int = 1
    static_bands: bool = True

    @property
    def columns(self) -> int:
        """Columns of a band."""
        return self.form.columns

    @property
    def num_bands(self) -> int:
        """Bands of columns."""
        return self.form.num_bands

    def accumulate_segment(self, tile: SparseTile, segment: Expr, first: Expr) -> Block:
        """Adds a band, row by row."""
        assert isinstance(tile.band, Const)
        begin = int(tile.band.value) * self.columns
        band = self.weights[:, begin : begin + self.columns]
        statements: Block = ()
        for row in np.flatnonzero(band.any(axis=1)):
            statements += _row(tile, band[row], first + int(self.places[row]))
        return statements


def _row(tile: SparseTile, weights: Array, number: Expr) -> Block:
    """One input of each pixel, times its weights."""
    operands, stride, (sums,) = tile.product.operands, tile.product.stride, tile.sums
    statements: Block = ()
    for pixel in range(sums.tile.rows):
        x = Var(operands.dtype, tile.context.names.fresh("x"))
        statements += (Let(x, operands.read(number + pixel * stride)),)
        for column in np.flatnonzero(weights):
            place = sums.at(pixel, index(int(column)))
            weight = Const(operands.dtype, weights[column].item())
            total = operands.combine(x, weight, load(sums.buffer, place))
            statements += (Store(sums.buffer, place, total),)
    return statements


def constant_weights(layer: SparseLayer, form: ConstantForm) -> ConstantWeights:
    """Takes a layer's weights into the code."""
    return ConstantWeights(form, layer.weights[0], layer.places)
