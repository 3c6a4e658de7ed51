"""Chooses how a contraction's weights are stored: all of them, or in a form without the zeros.

Every form that fits is estimated (`sparse_costs.py`); one is chosen if it saves time and does not
take more bytes than dense code. The zeros that are there decide, for each layer.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.lower.block_sparse import BlockForm, block_form, block_weights
from lepton_cc.codegen.lower.constant_code import ConstantForm, constant_form, constant_weights
from lepton_cc.codegen.lower.context import KernelContext, ScheduleOptions
from lepton_cc.codegen.lower.dot import MIN_LANES
from lepton_cc.codegen.lower.few_of_four import (
    FewOfFourForm,
    few_of_four_form,
    few_of_four_weights,
)
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.sparse_costs import (
    Core,
    Cost,
    SparseForm,
    core_of,
    dense_cost,
    sparse_cost,
)
from lepton_cc.codegen.lower.sparse_layer import SparseLayer
from lepton_cc.codegen.lower.sparse_product import SparseWeights
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct, Target
from lepton_cc.ir.tensor import Array

# Quantization by itself makes about so many zeros.
_FEWEST_ZEROS = 0.1
# Smaller matrices are not worth a loop of their own, larger ones no straight code.
_FEWEST_LISTED, _MOST_CONSTANTS = 256, 256
# Lists of nearly all blocks are nothing but another loop.
_MOST_STORED = 0.8
# What sparse code must promise: so much of the dense time, or of its bytes in no more time.
_WORTH_TIME, _WORTH_BYTES = 0.8, 0.7
# Straight code may take so many bytes more than loops, for the time that it saves.
_BYTES_FOR_TIME = 256
_STORED = (DType.F32, DType.I8)
_ROWS, _COLUMNS = (1, 2, 4), (1, 2, 4, 8, 16, 32)
# Sums of a tile on scalar cores, where LLVM needs registers for some products besides; pixels of
# a tile of vectors.
_MOST_LISTED_SUMS, _MOST_FEW_PIXELS, _MOST_VECTOR_PIXELS = 8, 6, 12
_MOST_SCALAR_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class SparseChoice:
    """A form, tiles of at most `most_pixels`, and what they cost beside dense code.

    unrolled: entries of a list, or bytes of positions, that are one iteration; entries are added to
    `parts` sums in turn, since one sum would wait for itself.
    """

    form: SparseForm
    most_pixels: int
    unrolled: int
    parts: int
    cost: Cost
    dense: Cost

    @property
    def is_worth_it(self) -> bool:
        """Whether this saves time without more bytes, or bytes without more time."""
        cost, dense = self.cost, self.dense
        extra = _BYTES_FOR_TIME if isinstance(self.form, ConstantForm) else 0
        if cost.cycles <= _WORTH_TIME * dense.cycles:
            return cost.size_bytes <= dense.size_bytes + extra
        return cost.cycles <= dense.cycles and cost.size_bytes <= _WORTH_BYTES * dense.size_bytes

    def merit(self) -> float:
        """What is to be small: time, and with less weight bytes."""
        return self.cost.cycles * math.sqrt(self.cost.size_bytes)

    def size(self) -> float:
        """Bytes, as small code counts."""
        return self.cost.size_bytes


def sparse_candidate(context: KernelContext) -> Array | None:
    """The weights of the context's contraction, if they may be better off without zeros."""
    content, bias = context.constant_array(1), context.constant_array(2)
    bias_known = context.optional_source(2) is None or bias is not None
    if content is None or not bias_known or not context.options.tile or content.size == 0:
        return None
    if compute_type(context.op.result.type.dtype) not in (DType.F32, DType.I32):
        return None
    if DType.from_numpy(content.dtype) not in _STORED:
        return None
    share = 1.0 - np.count_nonzero(content) / content.size
    return content if _FEWEST_ZEROS <= share < 1.0 else None


def choose_sparse(context: KernelContext, layer: SparseLayer) -> SparseChoice | None:
    """The form for a candidate; None if dense code is better."""
    return sparse_choice(layer, context.target, context.options)


def sparse_choice(
    layer: SparseLayer, target: Target, options: ScheduleOptions
) -> SparseChoice | None:
    """The form for a layer on a target; None if dense code is better."""
    if layer.lines * layer.pixels == 0 or np.all(layer.weights) or not np.any(layer.weights):
        return None
    lanes = target.lanes(DType.F32.size_bytes) if options.vectorize else 1
    is_float = layer.weights.dtype == np.float32
    core = core_of(target, lanes, DType.F32 if is_float else DType.I32)
    dense = dense_cost(layer, core)
    choices = [_estimated(layer, form, core, dense, options) for form in _forms(layer, core)]
    worth = [choice for choice in choices if choice.is_worth_it]
    return min(
        worth, key=SparseChoice.size if options.small_code else SparseChoice.merit, default=None
    )


def _forms(layer: SparseLayer, core: Core) -> Iterator[SparseForm]:
    """All forms that a layer fits."""
    width = layer.weights.shape[-1]
    if core.is_scalar and layer.dot is DotProduct.NONE:
        constants, few = constant_form(layer), few_of_four_form(layer)
        if constants is not None and constants.num_weights <= _MOST_CONSTANTS:
            yield constants
        if few is not None:
            yield few
    if layer.weights.nbytes < _FEWEST_LISTED:
        return
    for rows in _ROWS:
        for columns in _COLUMNS:
            narrow = MIN_LANES <= columns == width < core.lanes
            fits = columns % core.lanes == 0 or narrow
            if core.is_scalar:
                fits = columns <= _MOST_SCALAR_COLUMNS
            if not fits or width % columns or not _are_neighbours(layer, rows):
                continue
            form = block_form(layer, rows, columns)
            if form.num_blocks * rows * columns <= _MOST_STORED * layer.weights.size:
                yield form


def _are_neighbours(layer: SparseLayer, rows: int) -> bool:
    """Whether every so many rows meet inputs that follow each other."""
    if layer.weights.shape[1] % rows:
        return False
    groups = layer.places.reshape(-1, rows)
    return bool(np.all(np.diff(groups, axis=1) == layer.dot.width))


def _estimated(
    layer: SparseLayer, form: SparseForm, core: Core, dense: Cost, options: ScheduleOptions
) -> SparseChoice:
    most_pixels = 1 if isinstance(form, ConstantForm) else _most_pixels(layer, form, core)
    unrolled = parts = 1
    is_single = layer.lines * layer.pixels == 1 and not layer.is_padded
    if isinstance(form, BlockForm) and is_single and not options.small_code:
        if core.is_scalar:
            unrolled = min(_unrolled(form, 4, 8), max(1, 8 // (form.rows * form.columns)))
        else:
            unrolled = parts = _unrolled(form, 4, 32)
    if isinstance(form, FewOfFourForm) and is_single and form.rounds % 2 == 0:
        unrolled = 2
    cost = sparse_cost(layer, form, core, most_pixels)
    return SparseChoice(form, most_pixels, unrolled, parts, cost, dense)


def _most_pixels(layer: SparseLayer, form: BlockForm | FewOfFourForm, core: Core) -> int:
    """Pixels of a tile: as many as there are registers for, rather tiles that are all equal."""
    columns = form.columns if isinstance(form, BlockForm) else 1
    most = _MOST_LISTED_SUMS // columns if isinstance(form, BlockForm) else _MOST_FEW_PIXELS
    if not core.is_scalar:
        vectors = max(1, columns // core.lanes)
        # Others hold weights, of each vector, and inputs.
        most = min(_MOST_VECTOR_PIXELS, core.target.vector_registers // vectors - 2)
    inner = layer.pixels - sum(layer.borders)
    equal = [size for size in range(most * 2 // 3, most + 1) if size and inner % size == 0]
    return max(equal, default=max(most, 1))


def _unrolled(form: BlockForm, few: int, many: int) -> int:
    """Entries of an iteration: four of long lists, two of shorter ones."""
    length = form.num_blocks / max(form.num_lists, 1)
    return 4 if length >= many else 2 if length >= few else 1


def stored_weights(
    context: KernelContext, layer: SparseLayer, choice: SparseChoice
) -> SparseWeights:
    """The weights in the form that was chosen."""
    form = choice.form
    if isinstance(form, BlockForm):
        return block_weights(context, layer, form, choice.unrolled, choice.parts)
    if isinstance(form, FewOfFourForm):
        return few_of_four_weights(context, layer, form, choice.unrolled)
    return constant_weights(layer, form)
