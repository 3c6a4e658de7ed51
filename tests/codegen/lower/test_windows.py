"""Machine code of convolutions, transposed convolutions and pools in 1 to 3 dimensions."""

import numpy as np
import pytest

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.window import Window
from tests.codegen.lower.code_case import (
    BUILDS,
    Build,
    Case,
    Known,
    check,
    each_type,
    loop_builds,
    random,
)

FLOATS = each_type([DType.F32, DType.F16], [DType.F64, DType.BF16])
# Sums run in another order than NumPy's: this many epsilons of the largest result.
_SUM = 16.0


def window(
    size: tuple[int, ...],
    strides: int | tuple[int, ...] = 1,
    dilations: int = 1,
    low: int | tuple[int, ...] = 0,
    high: int | tuple[int, ...] = 0,
) -> Window:
    """A window whose single numbers stand for all dimensions."""

    def each(value: int | tuple[int, ...]) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * len(size)

    return Window(size, each(strides), each(dilations), each(low), each(high))


# Spatial input size, window, channels, output channels, groups.
CONVS: tuple[tuple[tuple[int, ...], Window, int, int, int], ...] = (
    ((9,), window((3,), low=1, high=1), 3, 5, 1),
    ((40,), window((25,), strides=2, low=7, high=9), 2, 3, 1),
    ((7, 9), window((3, 3), low=1, high=1), 3, 17, 1),
    ((7, 9), window((3, 3), strides=2, low=(0, 1), high=(1, 1)), 4, 33, 1),
    ((8, 8), window((3, 2), dilations=2, low=1, high=2), 6, 6, 3),
    ((6, 5), window((3, 3), low=1, high=1), 19, 19, 19),
    ((6, 5), window((3, 3), strides=2, low=1, high=0), 16, 16, 16),
    ((4, 1), window((3, 1), low=(1, 0), high=(1, 0)), 2, 3, 1),
    ((5, 5), window((1, 1)), 8, 40, 1),
    ((5, 5), window((1, 1), strides=2), 8, 4, 2),
    ((1, 3), window((1, 1), low=(0, 1), high=(0, 2)), 4, 5, 1),
    ((3, 3), window((5, 5), low=2, high=2), 2, 2, 1),
    ((5, 4, 6), window((3, 2, 3), strides=(1, 2, 2), low=1, high=1), 3, 4, 1),
)
# Spatial input size, window, output padding, channels, output channels, groups.
TRANSPOSED: tuple[tuple[tuple[int, ...], Window, tuple[int, ...], int, int, int], ...] = (
    ((5,), window((3,), strides=2), (1,), 3, 5, 1),
    ((3,), window((20,), strides=10, low=5, high=5), (0,), 2, 3, 1),
    ((6, 5), window((3, 3)), (0, 0), 3, 17, 1),
    ((4, 5), window((4, 4), strides=2, low=1, high=1), (0, 0), 8, 24, 1),
    ((4, 5), window((3, 2), strides=3, low=0, high=1), (2, 0), 4, 6, 2),
    ((4, 4), window((3, 3), strides=(1, 2), dilations=2, low=(2, 1), high=1), (0, 1), 3, 2, 1),
    ((5, 6), window((3, 3), strides=2, low=1, high=1), (1, 1), 21, 21, 21),
    ((3, 3), window((2, 2), strides=2), (0, 0), 16, 16, 16),
    ((3, 4), window((1, 1), strides=2), (1, 0), 2, 3, 1),
    ((3, 2, 4), window((2, 3, 3), strides=(2, 1, 2), low=(0, 1, 1), high=1), (0, 0, 1), 3, 4, 1),
)
POOLS: tuple[tuple[tuple[int, ...], Window, int], ...] = (
    ((9,), window((3,), strides=2, low=1, high=1), 5),
    ((7, 9), window((3, 2), low=(1, 0), high=1), 19),
    ((8, 8), window((3, 3), strides=2, dilations=2, low=1, high=2), 3),
    ((4, 5, 6), window((2, 3, 2), strides=2, low=(0, 1, 0), high=1), 4),
)


def conv_cases(dtype: DType, *, known: bool, batch: int = 2) -> list[Case]:
    cases = []
    for dims, win, channels, outputs, groups in CONVS:
        x = random(dtype, batch, *dims, channels)
        weights = random(dtype, *win.size, channels // groups, outputs, seed=1)
        bias = random(dtype, outputs, seed=2)
        operands = (Known(weights), Known(bias)) if known else (weights, bias)
        cases.append(Case(Conv(win, groups), (x, *operands), atol=_SUM))
        cases.append(Case(Conv(win, groups), (x[:1], operands[0]), atol=_SUM))
    return cases


def transposed_cases(dtype: DType, *, known: bool) -> list[Case]:
    cases = []
    for dims, win, extra, channels, outputs, groups in TRANSPOSED:
        x = random(dtype, 2, *dims, channels)
        weights = random(dtype, *win.size, channels, outputs // groups, seed=1)
        bias = random(dtype, outputs, seed=2)
        operands = (Known(weights), Known(bias)) if known else (weights, bias)
        kind = ConvTranspose(win, extra, groups)
        cases.append(Case(kind, (x, *operands), atol=_SUM))
        cases.append(Case(kind, (x[:1], operands[0]), atol=_SUM))
    return cases


@pytest.mark.parametrize("known", [True, False], ids=["constant", "variable"])
@pytest.mark.parametrize(("dtype", "build"), loop_builds(FLOATS))
def test_convolutions(dtype: DType, known: bool, build: Build) -> None:
    check(conv_cases(dtype, known=known), build)


@pytest.mark.parametrize("known", [True, False], ids=["constant", "variable"])
@pytest.mark.parametrize(("dtype", "build"), loop_builds(FLOATS))
def test_transposed_convolutions(dtype: DType, known: bool, build: Build) -> None:
    check(transposed_cases(dtype, known=known), build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", [*FLOATS, *each_type([DType.I8], [DType.U8, DType.I32])])
def test_max_pools_are_exact(dtype: DType, build: Build) -> None:
    cases = [Case(MaxPool(w), (random(dtype, 2, *dims, c),)) for dims, w, c in POOLS]
    if dtype.is_float:
        x = random(dtype, 1, 9, 4)
        x[0, 2, 1], x[0, 5, 2] = np.nan, -np.inf
        cases.append(Case(MaxPool(POOLS[0][1]), (x,)))
    check(cases, build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_average_pools(dtype: DType, build: Build) -> None:
    kinds: list[tuple[OpKind, tuple[int, ...]]] = []
    for dims, win, channels in POOLS:
        shape = (2, *dims, channels)
        kinds += [(AveragePool(win), shape), (AveragePool(win, count_padding=True), shape)]
        uncounted = (1,) + (0,) * (win.rank - 1)
        kinds.append((AveragePool(win, count_padding=True, uncounted=uncounted), shape))
    check([Case(kind, (random(dtype, *shape),), atol=_SUM) for kind, shape in kinds], build)
