"""Contractions of small integers by dot products: several reduction steps in one instruction.

A step multiplies a word of neighbouring inputs by a word of weights. The graph pass
`prepare-dot-products` has brought inputs into the form that the instruction takes (u8 or i16,
without padding, in whole words); this file recognizes that form and packs the weights. Weights of
4 bits stay so: a word of eight holds those of two or four steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, load
from lepton_cc.codegen.kernel.integer_expr import Dot, DotShape, LoadWord
from lepton_cc.codegen.kernel.tile import Tile, padded_columns
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.subbyte import split, stored_elements
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct
from lepton_cc.ir.tensor import Array

_INPUTS = {DotProduct.QUADS: DType.U8, DotProduct.PAIRS: DType.I16}
_SHAPES = {DotProduct.QUADS: DotShape.QUADS, DotProduct.PAIRS: DotShape.PAIRS}
# The weights that dot products take.
_TAKEN = (DType.I8, DType.I4)
_STORED = {DotProduct.QUADS: np.int8, DotProduct.PAIRS: np.int16}
# Narrower vectors have no dot-product instruction.
MIN_LANES = 4
_NARROW = DType.I4


@dataclass(frozen=True, slots=True)
class _Fields:
    """How 4-bit weights, stored as w + 8, become the signed integers of a word.

    A word holds the weights of several steps, those of step t in bits 4 t to 4 t + 3 of each field
    that is as wide as an integer of the dot product. `bias` carries w + 8 to w + 8 + 2^(n - 1) - 8,
    which never leaves a field of n bits; flipping its top bit takes 2^(n - 1) off again.
    """

    nibbles: int
    bias: int
    top_bits: int

    def unpacked(self, word: Expr, step: Expr) -> Expr:
        """The word of a step's integers."""
        fields = (word >> (step * _NARROW.bits).cast(DType.I32)) & self.nibbles
        return (fields + self.bias) ^ Const(DType.I32, self.top_bits)


_FIELDS = {
    DotProduct.QUADS: _Fields(0x0F0F0F0F, 0x78787878, 0x80808080 - (1 << 32)),
    DotProduct.PAIRS: _Fields(0x000F000F, 0x7FF87FF8, 0x80008000 - (1 << 32)),
}


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
        and DType.from_numpy(weights.dtype) in _TAKEN
        and run_length % dot.width == 0
    )
    return dot if fits else DotProduct.NONE


@dataclass(frozen=True, slots=True)
class DotWeights:
    """Packed weights [block][step][column] of words, and the bias with the zero point folded in.

    steps_a_word: reduction steps whose weights share a word.
    """

    dot: DotProduct
    tile: Tile
    num_steps: int
    steps_a_word: int
    panels: Buffer
    bias: Buffer

    def at(self, block: Expr, width: int, step: Expr, column: Expr) -> Expr:
        """The word of a column for a reduction step; `width` is the block's padded width."""
        words = -(-self.num_steps // self.steps_a_word)
        row, place = split(step, self.steps_a_word)
        word = load(self.panels, block * (words * self.tile.columns) + (row * width + column))
        return word if self.steps_a_word == 1 else _FIELDS[self.dot].unpacked(word, place)

    def bias_of(self, block: Expr) -> Callable[[Expr], Expr]:
        """Initial accumulators of a block."""
        return lambda column: load(self.bias, block * self.tile.columns + column)

    def word(self, x: Buffer, number: Expr) -> Expr:
        """The word of inputs from an element on."""
        return LoadWord(DType.I32, x, number)

    def combine(self, inputs: Expr, weights: Expr, total: Expr) -> Expr:
        """One step."""
        return dot_step(self.dot)(inputs, weights, total)


def dot_weights(
    context: KernelContext, dot: DotProduct, filters: int, tile: Tile, zero_point: int
) -> DotWeights:
    """Packs the context's constant weights [..., filters] and bias."""
    content = context.constant_array(1)
    assert content is not None
    weights = stored_elements(content).reshape(-1, filters)
    widened = np.zeros(padded_columns(filters, tile), dtype=np.int32)
    widened[:filters] = folded_bias(weights, context.constant_array(2), zero_point)
    num_steps = weights.shape[0] // dot.width
    steps_a_word = 1
    if DType.from_numpy(weights.dtype) is _NARROW:
        steps_a_word = 8 // dot.width
        weights = np.pad(weights, ((0, -num_steps % steps_a_word * dot.width), (0, 0)))
    panels = context.constant(_packed(weights.astype(_STORED[dot]), dot.width, steps_a_word, tile))
    return DotWeights(dot, tile, num_steps, steps_a_word, panels, context.constant(widened))


def folded_bias(weights: Array, bias: Array | None, zero_point: int) -> Array:
    """What sums of x w [depth, filters] start from to become those of (x - zero_point) w, i32.

    sum (x - z) w = sum x w - z sum w: the second term is a constant.
    """
    sums = weights.astype(np.int64).sum(axis=0)
    start = 0 if bias is None else bias.astype(np.int64).reshape(-1)
    return np.asarray(start - zero_point * sums).astype(np.int32)


def weight_words(weights: Array, dot: DotProduct) -> Array:
    """Integers [depth, filters] as words of neighbouring rows, i32[depth / width, filters]."""
    filters = weights.shape[1]
    words = _packed(weights.astype(_STORED[dot]), dot.width, 1, Tile(1, filters, 1))
    return words.reshape(-1, filters)


def dot_step(dot: DotProduct) -> Callable[[Expr, Expr, Expr], Expr]:
    """The function of (inputs, weights, total) that gives the next total."""
    return lambda inputs, weights, total: Dot(DType.I32, _SHAPES[dot], inputs, weights, total)


def _packed(weights: Array, width: int, steps_a_word: int, tile: Tile) -> Array:
    """[depth, filters] -> words [block][step][column], blocks padded to whole vectors."""
    depth, filters = weights.shape
    parts: list[Array] = []
    for start in range(0, filters, tile.columns):
        block = weights[:, start : start + tile.columns]
        columns = -(-block.shape[1] // tile.lanes) * tile.lanes
        widened = np.zeros((depth, columns), dtype=weights.dtype)
        widened[:, : block.shape[1]] = block
        fields = np.ascontiguousarray(
            widened.reshape(depth // width, width, columns).transpose(0, 2, 1)
        )
        parts.append((_shared(fields, steps_a_word) if steps_a_word > 1 else fields).reshape(-1))
    return np.concatenate(parts).view("<i4")


def _shared(fields: Array, count: int) -> Array:
    """Weights [steps, columns, width] of 4 bits in fields [steps / count, columns, width]."""
    stored = (fields + 8).view(f"u{fields.itemsize}")
    shared = np.zeros((len(fields) // count, *fields.shape[1:]), stored.dtype)
    for place in range(count):
        shared |= stored[place::count] << (_NARROW.bits * place)
    return shared
