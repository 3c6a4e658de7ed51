"""What contractions cost on a target, with all of their weights and without the zeros: estimates.

Time on vector targets is in units of one vector multiply-add of a register tile, on scalar cores in
instructions. The figures were fitted to counts on rv32imc and rv32imafc and to times with AVX2 and
AVX-512.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lepton_cc.codegen.kernel.tile import balanced_counts
from lepton_cc.codegen.lower.block_sparse import BlockForm
from lepton_cc.codegen.lower.constant_code import ConstantForm
from lepton_cc.codegen.lower.few_of_four import FewOfFourForm
from lepton_cc.codegen.lower.matrix_grid import (
    EXTENT,
    Contraction,
    choose_grid,
    matrix_cycles,
    vector_cycles,
)
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct, Target

# Instructions of a multiply-add: of integers, of floats without the unit.
_INTEGER_MULADD = 2.0
_EMULATED_MULADD = 100.0
# Besides, of dense loops; floats have registers of their own.
_INTEGER_MOVES, _FLOAT_MOVES = 2.4, 1.1
# A result is made, stored and counted.
_RESULT = 4.0
# Begin and end of a list are read, and its loop is left.
_SCALAR_LIST, _VECTOR_LIST = 20.0, 2.0
# Single pixels wait for weights, which tiles of them share.
_SINGLE_PIXEL = 1.5
# Bytes of code on scalar cores, in orders of magnitude: of dense loops around one pixel and around
# tiles, of lists, and of one weight that is an immediate.
_DENSE_CODE, _DENSE_TILES_CODE, _SPARSE_CODE, _SPARSE_TILES_CODE = 500, 2500, 350, 900
_IMMEDIATE_CODE = 16

SparseForm = BlockForm | FewOfFourForm | ConstantForm


@dataclass(frozen=True, slots=True)
class Core:
    """A target as these estimates see it.

    On a scalar core, with one lane, a dense multiply-add takes `muladd` and, for weights and sums
    that do not stay in registers, `moves`.
    """

    target: Target
    lanes: int
    muladd: float = 1.0
    moves: float = 0.0

    @property
    def is_scalar(self) -> bool:
        """Whether there are no vectors."""
        return self.lanes == 1


def core_of(target: Target, lanes: int, dtype: DType) -> Core:
    """The core that computes sums of a type."""
    if lanes > 1:
        return Core(target, lanes)
    if not dtype.is_float:
        return Core(target, lanes, _INTEGER_MULADD, _INTEGER_MOVES)
    if not target.float_unit:
        return Core(target, lanes, _EMULATED_MULADD, _INTEGER_MOVES)
    return Core(target, lanes, 1.0 if target.fused_multiply_add else 2.0, _FLOAT_MOVES)


@dataclass(frozen=True, slots=True)
class Cost:
    """Estimated time, bytes of weights, as data or in code, and of the code around them."""

    cycles: float
    weight_bytes: int
    code_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """All of them."""
        return self.weight_bytes + self.code_bytes


def dense_cost(layer: SparseLayer, core: Core) -> Cost:
    """The loops over all weights."""
    pixels = layer.lines * layer.pixels
    segments, depth, width = layer.weights.shape
    if core.is_scalar:
        work = pixels * layer.weights.size * (core.muladd + core.moves)
        code = _DENSE_TILES_CODE if pixels > 1 else _DENSE_CODE
        return Cost(work + pixels * width * _RESULT, layer.weights.nbytes, code)
    vectors = pixels * segments * depth * -(-width // core.lanes)
    work = vectors * (_SINGLE_PIXEL if pixels == 1 else 1.0) * _matrix_share(layer, core)
    return Cost(work, layer.weights.nbytes)


def _matrix_share(layer: SparseLayer, core: Core) -> float:
    """What a matrix unit takes of a vector unit's time; 1 without, or if it is no faster."""
    registers, (_, words, width) = core.target.matrix_registers, layer.weights.shape
    if not registers or layer.dot is not DotProduct.QUADS or core.lanes < EXTENT:
        return 1.0
    extents = Contraction(layer.lines, layer.pixels, words, words, width, EXTENT)
    grid = choose_grid(extents, registers)
    return min(1.0, matrix_cycles(extents, grid) / vector_cycles(extents))


def sparse_cost(layer: SparseLayer, form: SparseForm, core: Core, most_pixels: int) -> Cost:
    """The loops over what a form stores, tiles of at most so many pixels."""
    pixels, width = layer.lines * layer.pixels, layer.weights.shape[-1]
    cycles = sum(
        count * _tile_cycles(layer, form, core, size) for size, count in _tiles(layer, most_pixels)
    )
    if not core.is_scalar:
        assert isinstance(form, BlockForm)
        return Cost(cycles, form.size_bytes)
    cycles += pixels * width * _RESULT
    if isinstance(form, ConstantForm):
        return Cost(cycles, form.num_weights * _IMMEDIATE_CODE, width * math.ceil(_RESULT))
    code = _SPARSE_TILES_CODE if pixels > 1 else _SPARSE_CODE
    return Cost(cycles, form.size_bytes, code)


def _tiles(layer: SparseLayer, most_pixels: int) -> Iterator[tuple[int, int]]:
    """(pixels, how many) of the tiles of all lines."""
    borders = sum(layer.borders)
    if borders:
        yield 1, layer.lines * borders
    for size, count in balanced_counts(layer.pixels - borders, most_pixels):
        yield size, layer.lines * count


def _tile_cycles(layer: SparseLayer, form: SparseForm, core: Core, pixels: int) -> float:
    """One tile of pixels, all columns."""
    if not core.is_scalar:
        assert isinstance(form, BlockForm)
        vectors = form.rows * max(1, form.columns // core.lanes)
        block = 1.0 + vectors * (0.25 + 1.25 * pixels)
        return form.num_blocks * block + form.num_lists * _VECTOR_LIST
    a_value = pixels * (1.0 + core.muladd)
    if isinstance(form, ConstantForm):
        return form.num_weights * pixels * (core.muladd * 1.25 + 2.0)
    # Weights are added up besides, for the zero point; elements of several bytes need a shift.
    overhead = layer.is_padded + (layer.weights.itemsize > 1) * 2.0
    if isinstance(form, FewOfFourForm):
        places = overhead + (4.4 if pixels == 1 and not layer.is_padded else 5.75)
        return form.num_values * (a_value + places) + form.segments * form.width * _SCALAR_LIST
    inputs = form.rows * (pixels + form.columns * (1.0 + pixels * core.muladd))
    places = overhead + (3.2 if pixels == 1 and not layer.is_padded else 6.0)
    return form.num_blocks * (inputs + places) + form.num_lists * _SCALAR_LIST
