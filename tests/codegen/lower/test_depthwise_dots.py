"""Depthwise convolutions of small integers by dot products: odd shapes, against the interpreter."""

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.kernel.integer_expr import DotShape
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.kernel.printer import print_kernel
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.executable import Executable
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.window import Window
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.thread_pool import ThreadPool
from tests.codegen.lower.code_case import Build, Case, Known, check, graph_of, random
from tests.codegen.lower.test_windows import window

BUILDS = tuple(
    pytest.param(
        build,
        id=str(build),
        marks=() if build.runs_here else pytest.mark.skip("not for this machine"),
    )
    for build in (Build("x86-64-v3-vnni", OptLevel.O3), Build("x86-64-v4-vnni", OptLevel.O3))
)
# Batch, spatial input size, window, channels, zero point.
CASES: tuple[tuple[int, tuple[int, ...], Window, int, int], ...] = (
    (1, (6, 5), window((3, 3), low=1, high=1), 16, 128),
    (2, (7, 9), window((3, 3), low=1, high=1), 19, 0),
    (1, (1, 1), window((3, 3), low=1, high=1), 40, 255),
    (1, (2, 30), window((3, 3), low=1, high=1), 8, 3),
    (1, (9, 8), window((3, 3), strides=2, low=1, high=1), 16, 131),
    (1, (8, 9), window((3, 3), strides=2, low=(0, 0), high=(1, 1)), 100, 7),
    (3, (9, 11), window((3, 3), strides=(1, 2), low=(1, 0), high=(0, 2)), 4, 77),
    (1, (9, 7), window((3, 3), strides=(3, 1), low=(2, 1), high=(2, 1)), 24, 200),
    (1, (11, 9), window((5, 5), low=2, high=2), 33, 128),
    (1, (11, 10), window((5, 5), strides=2, low=(1, 2), high=(2, 2)), 16, 1),
    (2, (5, 5), window((7, 7), low=3, high=3), 12, 90),
    (1, (9, 9), window((3, 3), dilations=2, low=2, high=2), 17, 128),
    (1, (12, 13), window((2, 3), dilations=3, low=1, high=(4, 3)), 5, 128),
    (1, (9, 4), window((4, 1), low=(0, 0), high=(3, 0)), 18, 60),
    (1, (30,), window((9,)), 20, 128),
    (2, (30,), window((3,), low=1, high=1), 64, 12),
    (1, (17,), window((17,)), 6, 128),
    (1, (40,), window((5,), strides=2, dilations=2, low=3, high=1), 31, 9),
    # What the general loops take: few channels, one row of taps, many taps, three dimensions.
    (1, (6, 5), window((3, 3), low=1, high=1), 3, 128),
    (1, (6, 9), window((1, 3), low=(0, 1), high=(0, 1)), 16, 5),
    (1, (6, 40), window((3, 13), low=(1, 6), high=(1, 6)), 16, 128),
    (1, (4, 5, 6), window((3, 3, 3), low=1, high=1), 16, 128),
)


def cases(bias: bool) -> list[Case]:
    made = []
    for batch, dims, shape, channels, zero_point in CASES:
        x = random(DType.U8, batch, *dims, channels)
        weights = Known(random(DType.I8, *shape.size, 1, channels, seed=1))
        offset = np.random.default_rng(channels).integers(-50000, 50000, channels)
        biases = (Known(offset.astype(np.int32)),) if bias else ()
        made.append(Case(Conv(shape, channels, zero_point), (x, weights, *biases)))
    return made


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("bias", [True, False])
def test_depthwise(build: Build, bias: bool) -> None:
    check(cases(bias), build)


@pytest.mark.parametrize("build", BUILDS)
def test_largest_products(build: Build) -> None:
    """Every sum of four is as large as it can be: nothing saturates."""
    made = []
    for x, weight in ((255, 127), (255, -128), (0, -128)):
        shape = window((5, 5), low=2, high=2)
        operands = (
            np.full((1, 6, 7, 16), x, np.uint8),
            Known(np.full((5, 5, 1, 16), weight, np.int8)),
        )
        made.append(Case(Conv(shape, 16, 255 - x), operands))
    check(made, build)


def test_which_use_words_of_taps() -> None:
    graph, _ = graph_of(cases(bias=True))
    target = load_target("x86-64-v4-vnni")
    program = assemble(graph, "case", target, LEVELS[OptLevel.O3].schedule)
    texts = {lowered.kernel.name: print_kernel(lowered.kernel) for lowered in program.kernels}
    word = f"dot<{DotShape.QUADS.value}>(w"
    assert [word in texts[call.kernel] for call in program.calls] == [True] * 18 + [False] * 4


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dims", [(14, 14, 384), (7, 7, 960), (28, 28, 200)])
def test_any_cut_between_threads(dims: tuple[int, int, int], build: Build) -> None:
    """Bands and halves of channels: single iterations, the last one first."""
    x = random(DType.U8, 1, *dims)
    weights = Known(random(DType.I8, 3, 3, 1, dims[-1], seed=1))
    graph, inputs = graph_of(
        [Case(Conv(window((3, 3), low=1, high=1), dims[-1], 100), (x, weights))]
    )
    program = assemble(graph, "case", load_target(build.target), LEVELS[build.level].schedule)
    assert all(parallel_extent(lowered.kernel) is not None for lowered in program.kernels)
    pool = ThreadPool(2, lambda count, parts: [(i, i + 1) for i in reversed(range(count))])
    threaded = Executable(program, 1).run(inputs, threads=pool)
    np.testing.assert_array_equal(threaded["y0"], interpret(graph, inputs)["y0"])
