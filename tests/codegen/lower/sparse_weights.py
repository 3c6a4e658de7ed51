"""Weights with zeros, and layers with all forms of them, for tests of sparse code."""

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array
from tests.codegen.lower.code_case import Case, Known, whole_range
from tests.codegen.lower.test_windows import window


def blocks(depth: int, width: int, block: tuple[int, int], share: float) -> Array:
    """Integers of which blocks are zero, so large a share of each column, if there is more."""
    rng = np.random.default_rng([depth, width, *block])
    weights = rng.integers(1, 128, (depth, width)) * rng.choice([-1, 1], (depth, width))
    order = rng.random((depth // block[0], width // block[1])).argsort(axis=0).argsort(axis=0)
    stays = order >= round(share * len(order))
    spread = np.repeat(np.repeat(stays, block[0], axis=0), block[1], axis=1)
    return np.asarray(weights * spread)


def of_four(kept: int, depth: int, width: int) -> Array:
    """Integers of which so many in each four neighbours of a column are not zero."""
    rng = np.random.default_rng([kept, depth, width])
    weights = rng.integers(1, 128, (depth, width)) * rng.choice([-1, 1], (depth, width))
    order = rng.random((depth // 4, 4, width)).argsort(axis=1)
    return np.asarray(weights * (order < kept).reshape(depth, width))


def product(weights: Array, rows: int, zero_point: int = -128) -> Case:
    """x [rows, depth] by weights, with a bias."""
    x = whole_range(DType.I8, rows, len(weights))
    bias = np.arange(weights.shape[1], dtype=np.int32) * 1000
    kind = MatMul(lhs_zero_point=zero_point)
    return Case(kind, (x, Known(weights.astype(np.int8)), Known(bias)))


def convolution(
    weights: Array,
    dims: tuple[int, ...],
    padding: int,
    zero_point: int,
    stride: int = 1,
    taps: int = 3,
) -> Case:
    """Taps over two images, so many in each dimension that they have, without a bias."""
    rank = len(dims)
    shape = window((taps,) * rank, strides=stride, low=padding, high=padding)
    channels = len(weights) // taps**rank
    x = whole_range(DType.I8, *((2, *dims, channels)))
    content = weights.astype(np.int8).reshape(*shape.size, channels, -1)
    return Case(Conv(shape, 1, zero_point), (x, Known(content)))


SCATTERED, HALVED = blocks(72, 8, (1, 1), 0.75), of_four(2, 72, 8)
WORDS = blocks(144, 16, (4, 16), 0.75)
# Each form and each kind of loop once, then more shapes of them.
FEW: tuple[Case, ...] = (
    product(blocks(64, 16, (4, 16), 0.75), 1),
    product(blocks(64, 8, (1, 1), 0.8), 1, 5),
    product(of_four(2, 64, 8), 1),
    product(blocks(16, 4, (1, 1), 0.6), 1),
    convolution(SCATTERED, (3, 4), 1, -128),
    convolution(blocks(64, 4, (1, 1), 0.75), (2, 3), 1, 21, taps=1),
)
CASES: tuple[Case, ...] = (
    *FEW,
    product(blocks(128, 32, (4, 16), 0.75), 17),
    product(blocks(64, 6, (1, 2), 0.8), 11, 0),
    product(of_four(2, 40, 12), 7, 3),
    product(of_four(1, 32, 12), 6, -1),
    product(blocks(8, 9, (1, 1), 0.5), 5, 127),
    convolution(SCATTERED, (7, 6), 1, 3, stride=2),
    convolution(SCATTERED, (5, 9), 0, -7),
    convolution(SCATTERED, (1, 2), 2, 4),
    convolution(HALVED, (5, 7), 1, -128),
    convolution(blocks(64, 8, (1, 1), 0.75), (4, 5), 1, 21, taps=1),
    convolution(blocks(24, 12, (1, 1), 0.8), (19,), 1, -5),
    convolution(WORDS, (6, 13), 1, 9),
    convolution(WORDS, (9, 9), 1, 0, stride=2),
)
