"""How weights with zeros are stored: which form is chosen for which zeros, on which target."""

import numpy as np
import pytest

from lepton_cc.codegen.lower.block_sparse import BlockForm
from lepton_cc.codegen.lower.constant_code import ConstantForm
from lepton_cc.codegen.lower.context import ScheduleOptions
from lepton_cc.codegen.lower.conv_shape import conv_shape
from lepton_cc.codegen.lower.few_of_four import FewOfFourForm
from lepton_cc.codegen.lower.sparse_costs import SparseForm
from lepton_cc.codegen.lower.sparse_form import sparse_choice
from lepton_cc.codegen.lower.sparse_layer import SparseLayer, conv_layer, matmul_layer
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.target import DotProduct
from lepton_cc.ir.tensor import Array
from tests.codegen.lower.sparse_weights import blocks, of_four
from tests.codegen.lower.test_windows import window


def _form(layer: SparseLayer, target: str) -> SparseForm | None:
    choice = sparse_choice(layer, load_target(target), ScheduleOptions())
    return None if choice is None else choice.form


def _product(weights: Array, rows: int = 1, dot: DotProduct = DotProduct.NONE) -> SparseLayer:
    return matmul_layer(weights.astype(np.int8), rows, dot)


def _convolution(weights: Array, dtype: type = np.int8) -> SparseLayer:
    shape = conv_shape(
        Conv(window((3, 3), low=1, high=1)), (1, 8, 8, 16), (1, 8, 8, weights.shape[1])
    )
    return conv_layer(weights.astype(dtype).reshape(9, 16, -1), shape, DotProduct.NONE)


def test_the_zeros_choose_the_blocks() -> None:
    for block in ((1, 8), (4, 16)):
        layer = matmul_layer(blocks(640, 32, block, 0.9).astype(np.float32), 1, DotProduct.NONE)
        form = _form(layer, "x86-64")
        assert isinstance(form, BlockForm)
        assert (form.rows, form.columns) == block


@pytest.mark.parametrize(
    ("target", "dot"),
    [("x86-64-v4-vnni", DotProduct.QUADS), ("x86-64-v3", DotProduct.PAIRS)],
)
def test_words_of_dot_products_are_blocks(target: str, dot: DotProduct) -> None:
    weights = blocks(128, 128, (4, 16), 0.75)
    for rows in (1, 3, 64):
        form = _form(_product(weights, rows, dot), target)
        assert isinstance(form, BlockForm)
        dense_bytes = weights.size * 4 // dot.width
        assert form.size_bytes < 0.3 * dense_bytes


def test_scattered_zeros_stay_dense_with_wide_vectors_but_not_on_a_scalar_core() -> None:
    scattered = blocks(144, 32, (1, 1), 0.75)
    assert _form(_product(scattered), "x86-64-v4") is None
    assert _form(_convolution(scattered, np.float32), "x86-64-v4") is None
    form = _form(_convolution(scattered), "rv32imc")
    assert isinstance(form, BlockForm)
    assert (form.rows, form.columns) == (1, 1)
    assert isinstance(_form(_product(scattered), "rv32imc"), BlockForm)


@pytest.mark.parametrize("kept", [1, 2])
def test_few_of_four_are_stored_with_two_bits_each(kept: int) -> None:
    weights = of_four(kept, 144, 32)
    for layer in (_product(weights), _product(weights, 9), _convolution(weights)):
        form = _form(layer, "rv32imc")
        assert isinstance(form, FewOfFourForm)
        assert form.size_bytes * 16 == weights.size * kept * 5
        assert _form(layer, "x86-64-v3") is None


def test_few_weights_become_code() -> None:
    few = blocks(16, 4, (1, 1), 0.6)
    form = _form(_product(few), "rv32imc")
    assert isinstance(form, ConstantForm)
    assert form.num_weights == np.count_nonzero(few)
    assert _form(_product(few), "x86-64") is None


@pytest.mark.parametrize("target", ["x86-64", "x86-64-v4-vnni", "rv32imc"])
def test_few_zeros_or_no_weights_stay_dense(target: str) -> None:
    dot = load_target(target).dot_product
    for weights in (blocks(64, 64, (1, 1), 0.2), np.ones((64, 64)), np.zeros((64, 64))):
        assert _form(_product(weights, 1, dot), target) is None


def test_small_code_takes_the_fewest_bytes() -> None:
    layer, target = _product(blocks(16, 16, (1, 1), 0.75), 64), load_target("rv32imc")
    fast, small = (
        sparse_choice(layer, target, ScheduleOptions(small_code=small)) for small in (False, True)
    )
    assert fast is not None
    assert small is not None
    assert small.cost.size_bytes <= fast.cost.size_bytes
    assert small.cost.cycles >= fast.cost.cycles
