"""Contractions of small integers by dot products: several reduction steps in one instruction.

A step multiplies a word of neighbouring inputs by a word of weights. The graph pass
`prepare-dot-products` has brought inputs into the form that the instruction takes (u8 or i16,
without padding, in whole words); this file recognizes that form and packs the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.ir import Buffer, Dot, DotShape, Expr, LoadWord, load
from lepton_cc.codegen.kernel.tile import Tile, padded_columns
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct
from lepton_cc.ir.tensor import Array

_INPUTS = {DotProduct.QUADS: DType.U8, DotProduct.PAIRS: DType.I16}
_SHAPES = {DotProduct.QUADS: DotShape.QUADS, DotProduct.PAIRS: DotShape.PAIRS}
_WEIGHTS = {DotProduct.QUADS: np.int8, DotProduct.PAIRS: np.int16}
# Narrower vectors have no dot-product instruction.
MIN_LANES = 4


def usable_dot(context: KernelContext, run_length: int) -> DotProduct:
    """The dot product that the context's contraction can use; NONE if it cannot.

    run_length: neighbouring inputs that one run of reduction steps takes.
    """
    dot = context.target.dot_product
    weights = context.constant_array(1)
    bias_known = context.optional_source(2) is None or context.constant_array(2) is not None
    fits = (
        dot is not DotProduct.NONE
        and context.options.vectorize
        and context.source(0).type.dtype is _INPUTS[dot]
        and weights is not None
        and bias_known
        and weights.dtype == np.int8
        and run_length % dot.width == 0
    )
    return dot if fits else DotProduct.NONE


@dataclass(frozen=True, slots=True)
class DotWeights:
    """Packed weights [block][step][column] of words, and the bias with the zero point folded in."""

    dot: DotProduct
    tile: Tile
    num_steps: int
    panels: Buffer
    bias: Buffer

    def at(self, block: Expr, width: int, step: Expr, column: Expr) -> Expr:
        """The word of a column for a reduction step; `width` is the block's padded width."""
        first = block * (self.num_steps * self.tile.columns)
        return load(self.panels, first + (step * width + column))

    def bias_of(self, block: Expr) -> Callable[[Expr], Expr]:
        """Initial accumulators of a block."""
        return lambda column: load(self.bias, block * self.tile.columns + column)

    def word(self, x: Buffer, number: Expr) -> Expr:
        """The word of inputs from an element on."""
        return LoadWord(DType.I32, x, number)

    def combine(self, inputs: Expr, weights: Expr, total: Expr) -> Expr:
        """One step."""
        return Dot(DType.I32, _SHAPES[self.dot], inputs, weights, total)


def dot_weights(
    context: KernelContext, dot: DotProduct, filters: int, tile: Tile, zero_point: int
) -> DotWeights:
    """Packs the context's constant weights [..., filters] and bias.

    sum (x - z) w = sum x w - z sum w: the second term goes into the bias.
    """
    content, bias = context.constant_array(1), context.constant_array(2)
    assert content is not None
    weights = content.reshape(-1, filters)
    sums = weights.astype(np.int64).sum(axis=0)
    start = (0 if bias is None else bias.astype(np.int64).reshape(-1)) - zero_point * sums
    widened = np.zeros(padded_columns(filters, tile), dtype=np.int32)
    widened[:filters] = start.astype(np.int32)
    panels = context.constant(_packed(weights.astype(_WEIGHTS[dot]), dot.width, tile))
    num_steps = weights.shape[0] // dot.width
    return DotWeights(dot, tile, num_steps, panels, context.constant(widened))


def _packed(weights: Array, width: int, tile: Tile) -> Array:
    """[depth, filters] -> words [block][step][column], blocks padded to whole vectors."""
    depth, filters = weights.shape
    parts: list[Array] = []
    for start in range(0, filters, tile.columns):
        block = weights[:, start : start + tile.columns]
        columns = -(-block.shape[1] // tile.lanes) * tile.lanes
        widened = np.zeros((depth, columns), dtype=weights.dtype)
        widened[:, : block.shape[1]] = block
        words = widened.reshape(depth // width, width, columns).transpose(0, 2, 1)
        parts.append(np.ascontiguousarray(words).reshape(-1))
    return np.concatenate(parts).view("<i4")
