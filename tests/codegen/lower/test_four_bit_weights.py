"""Machine code of contractions and movements whose constants have 4 and 2 bits."""

import itertools

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.kernel.printer import print_kernel
from lepton_cc.codegen.lower import subbyte
from lepton_cc.codegen.lower.subbyte import packed_rows
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Cast
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.target import DotProduct
from lepton_cc.levels import LEVELS, OptLevel
from tests.codegen.lower.code_case import (
    BUILDS,
    Build,
    Case,
    Known,
    check,
    graph_of,
    random,
    whole_range,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nothing_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs constants of any size, so that odd sizes are tested."""
    monkeypatch.setattr(subbyte, "SMALLEST_PACKED", 2)


NARROW = (DType.I4, DType.U4, DType.I2)
PRODUCTS = (
    ((1, 1), (1, 1)),
    ((1, 70), (70, 33)),
    ((7, 5), (5, 3)),
    ((9, 16), (16, 48)),
    ((3, 5, 6), (6, 20)),
    ((2, 4, 7), (2, 7, 5)),
)
# (input, weights, strides, dilations, padding, groups)
CONVOLUTIONS = (
    ((1, 6, 7, 3), (3, 3, 3, 8), (1, 1), (1, 1), 1, 1),
    ((2, 6, 7, 5), (3, 3, 5, 4), (2, 1), (1, 2), 1, 1),
    ((1, 5, 5, 8), (1, 1, 8, 20), (1, 1), (1, 1), 0, 1),
    ((1, 9, 4, 1), (5, 3, 1, 7), (1, 1), (1, 1), 0, 1),
    ((1, 6, 6, 16), (3, 3, 1, 16), (1, 1), (1, 1), 1, 16),
    ((1, 6, 6, 5), (3, 3, 1, 5), (2, 2), (1, 1), 1, 5),
    ((1, 6, 6, 6), (3, 2, 3, 8), (1, 1), (1, 1), 0, 2),
    ((1, 20, 3), (15, 3, 4), (1,), (1,), 7, 1),
)


def convolution(number: int, zero_point: int) -> tuple[Conv, tuple[int, ...], tuple[int, ...]]:
    """The kind, the input's and the weights' dimensions of a row of the table."""
    x, w, strides, dilations, padding, groups = CONVOLUTIONS[number]
    pads = (padding,) * (len(x) - 2)
    return Conv(Window(w[:-2], strides, dilations, pads, pads), groups, zero_point), x, w


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("x_dtype", [DType.I8, DType.U8, DType.I16], ids=lambda dtype: dtype.value)
def test_products(x_dtype: DType, dtype: DType, build: Build) -> None:
    cases = []
    for left, right in PRODUCTS:
        x, w = whole_range(x_dtype, *left, seed=1), Known(whole_range(dtype, *right, seed=2))
        bias = Known(random(DType.I32, right[-1], seed=3) // 1000)
        cases += [Case(MatMul(3), (x, w, bias)), Case(MatMul(0, 1), (x, w))]
    check(cases, build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.value)
def test_convolutions(dtype: DType, build: Build) -> None:
    cases = []
    for number in range(len(CONVOLUTIONS)):
        kind, x_dims, w_dims = convolution(number, zero_point=-7)
        x, w = whole_range(DType.I8, *x_dims, seed=1), Known(whole_range(dtype, *w_dims, seed=2))
        bias = random(DType.I32, w_dims[-1], seed=3) // 1000
        cases += [Case(kind, (x, w, Known(bias))), Case(kind, (x, w)), Case(kind, (x, w, bias))]
    check(cases, build)


DOTS = tuple(
    pytest.param(build, id=str(build), marks=[] if quick else [pytest.mark.slow])
    for build, quick in (
        (Build("x86-64", OptLevel.O3), True),
        (Build("x86-64-v3-vnni", OptLevel.O3), False),
        (Build("x86-64-v4-vnni", OptLevel.O3), True),
        (Build("x86-64-v4-vnni", OptLevel.OS), False),
    )
    if build.runs_here
)


@pytest.mark.parametrize("build", DOTS)
@pytest.mark.parametrize("x_dtype", [DType.U8, DType.I16], ids=lambda dtype: dtype.value)
def test_dot_products(x_dtype: DType, build: Build) -> None:
    """Numbers of steps that do and do not fill the last word, in one run and in several."""
    cases = []
    for depth in (2, 4, 6, 8, 12, 20, 64):
        x = whole_range(x_dtype, 7, depth, seed=1)
        w = Known(whole_range(DType.I4, depth, 19, seed=2))
        cases.append(Case(MatMul(5), (x, w, Known(random(DType.I32, 19) // 1000))))
    for window, dilation in itertools.product(((1, 1), (3, 3), (2, 3)), (1, 2)):
        pads = (0, 0)
        kind = Conv(Window(window, (1, 1), (dilation, dilation), pads, pads), 1, 9)
        for channels in (2, 4, 8, 12):
            x = whole_range(x_dtype, 1, 7, 8, channels, seed=1)
            cases.append(Case(kind, (x, Known(whole_range(DType.I4, *window, channels, 20)))))
    check(cases, build)


@pytest.mark.parametrize("build", DOTS)
def test_dot_products_read_packed_weights(build: Build) -> None:
    target = load_target(build.target)
    x_dtype = DType.U8 if target.dot_product is DotProduct.QUADS else DType.I16
    w = Known(whole_range(DType.I4, 64, 32))
    graph, _ = graph_of([Case(MatMul(), (whole_range(x_dtype, 4, 64), w))])
    program = assemble(graph, "case", target, LEVELS[build.level].schedule)
    assert any("dot" in print_kernel(function.kernel) for function in program.kernels)
    bias = 4 * 32
    assert program.constants_bytes == 64 * 32 // 2 + bias


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_transposed_convolutions(groups: int, build: Build) -> None:
    window = Window((3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    kind = ConvTranspose(window, (0, 0), groups, zero_point=-3)
    x = whole_range(DType.I8, 1, 4, 5, 6, seed=1)
    dims = (3, 3, 6, 1 if groups == 6 else 4)
    narrow, wide = (Known(whole_range(dtype, *dims, seed=2)) for dtype in (DType.I4, DType.I8))
    check([Case(kind, (x, narrow)), Case(kind, (x, wide))], build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.value)
def test_constants_that_are_moved_and_dequantized(dtype: DType, build: Build) -> None:
    cases: list[Case] = []
    for dims in ((17,), (3, 5), (5, 32), (8, 4, 16), (9, 1, 3)):
        array = Known(whole_range(dtype, *dims))
        axes = tuple(reversed(range(len(dims))))
        kinds: tuple[OpKind, ...] = (Cast(DType.I32), Cast(DType.F32), Transpose(axes))
        cases += [Case(kind, (array,)) for kind in kinds]
        scale = random(DType.F32, *dims[:-1], 1)
        cases.append(Case(Dequantize(), (array, Known(scale))))
    check(cases, build)


@pytest.mark.parametrize("dtype", [DType.I4, DType.U4])
@pytest.mark.parametrize("target", ["x86-64", "rv32imc"])
def test_constants_take_half_a_byte(target: str, dtype: DType) -> None:
    w = Known(whole_range(dtype, 64, 32))
    cases = (
        Case(MatMul(), (whole_range(DType.I8, 4, 64), w)),
        Case(Cast(DType.F32), (Known(whole_range(dtype, 64, 64, seed=1)),)),
    )
    for case, size in zip(cases, (64 * 32 // 2, 64 * 64 // 2), strict=True):
        graph, _ = graph_of([case])
        program = assemble(graph, "case", load_target(target), LEVELS[OptLevel.O3].schedule)
        assert program.constants_bytes == size


def test_weights_that_fit_the_caches_when_packed_are_swept_for_every_row() -> None:
    """Channel blocks go outside from 256 KiB on: these weights have 288 KiB in bytes, or 144."""
    kind = Conv(Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))
    x = whole_range(DType.I8, 1, 9, 9, 64)
    for dtype, outermost in ((DType.I8, 512 // 2), (DType.I4, 9)):
        graph, _ = graph_of([Case(kind, (x, Known(whole_range(dtype, 3, 3, 64, 512))))])
        program = assemble(graph, "case", load_target("rv32imc"), LEVELS[OptLevel.O3].schedule)
        (function,) = program.kernels
        assert parallel_extent(function.kernel) == outermost


@pytest.mark.parametrize("build", BUILDS)
def test_small_constants_are_not_packed(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subbyte, "SMALLEST_PACKED", 1024)
    w = Known(whole_range(DType.U4, 48, 16))
    depthwise = Conv(Window((3,), (1,), (1,), (1,), (1,)), 16)
    cases = [
        Case(MatMul(), (whole_range(DType.U8, 4, 48), w)),
        Case(depthwise, (whole_range(DType.I8, 1, 9, 16), Known(whole_range(DType.I4, 3, 1, 16)))),
        Case(Cast(DType.F32), (w,)),
    ]
    check(cases, build)
    graph, _ = graph_of(cases[:1])
    program = assemble(graph, "case", load_target("rv32imc"), LEVELS[build.level].schedule)
    assert program.constants_bytes == 48 * 16


def test_rows_share_bytes_low_half_first() -> None:
    rows = np.array([[1, -8], [-1, 7], [3, 0]]).astype(DType.I4.numpy)
    assert packed_rows(rows, 4).view(np.uint8).tolist() == [[0xF1, 0x78], [0x03, 0x00]]
