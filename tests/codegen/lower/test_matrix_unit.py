"""Machine code of contractions on a matrix unit, whatever the cost model would choose."""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.lower import matrix, threads
from lepton_cc.codegen.lower.matrix_grid import (
    EXTENT,
    Contraction,
    Grid,
    candidates,
    choose_grid,
    matrix_cycles,
    vector_cycles,
)
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.executable import Executable
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.fuse_elementwise import FuseElementwise
from lepton_cc.passes.manager import PassManager
from lepton_cc.thread_pool import ThreadPool
from tests.codegen.c.c_compiler import COMPILERS, c_source, call, compiled
from tests.codegen.c.kernels import sample
from tests.codegen.kernel.expression_evaluator import Evaluator
from tests.codegen.lower.code_case import Case, Known, graph_of, whole_range

TARGET = load_target("x86-64-v4-amx")
# Rows and columns of the left side, columns of the right one.
PRODUCTS = (
    (1, 4, 1),
    (3, 8, 5),
    (16, 64, 16),
    (17, 68, 17),
    (33, 128, 40),
    (49, 20, 100),
    (100, 76, 31),
)
# Input, weights, strides, dilations.
CONVOLUTIONS = (
    ((1, 6, 6, 4), (3, 3, 4, 7), (1, 1), (1, 1)),
    ((2, 9, 9, 8), (3, 3, 8, 20), (1, 1), (1, 1)),
    ((1, 9, 40, 4), (3, 5, 4, 16), (1, 1), (1, 1)),
    ((1, 9, 38, 16), (1, 1, 16, 33), (2, 2), (1, 1)),
    ((1, 13, 13, 64), (3, 3, 64, 48), (1, 1), (1, 1)),
    ((1, 12, 11, 4), (3, 2, 4, 18), (1, 1), (2, 3)),
    ((3, 7, 5, 20), (1, 1, 20, 36), (1, 1), (1, 1)),
    ((1, 23, 23, 4), (7, 7, 4, 64), (2, 2), (1, 1)),
    ((2, 50, 8), (5, 8, 24), (1,), (1,)),
    ((1, 4, 4, 4, 8), (2, 2, 2, 8, 9), (1, 1, 1), (1, 1, 1)),
)
# What some kernels are cut into: a block of one tile, wide, deep, and of whole lines.
SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 5), (5, 1), (4, 1), (1, 6), (6, 1))


def product(rows: int, depth: int, columns: int) -> Case:
    """A row of the table, with any bias."""
    x, w = (
        whole_range(DType.U8, rows, depth, seed=1),
        Known(whole_range(DType.I8, depth, columns, seed=2)),
    )
    return Case(MatMul(131, 0), (x, w, bias(columns)))


def convolution(number: int) -> Case:
    """A row of the table, with any bias."""
    x, w, strides, dilations = CONVOLUTIONS[number]
    none = (0,) * len(strides)
    kind: OpKind = Conv(Window(w[:-2], strides, dilations, none, none), 1, 77)
    weights = Known(whole_range(DType.I8, *w, seed=4))
    return Case(kind, (whole_range(DType.U8, *x, seed=3), weights, bias(w[-1])))


def bias(columns: int) -> Known:
    return Known(whole_range(DType.I32, columns, seed=5) // 1000)


CASES = (
    *(product(*row) for row in PRODUCTS),
    *(convolution(number) for number in range(len(CONVOLUTIONS))),
)


@pytest.fixture(autouse=True)
def nothing_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "vector_cycles", lambda extents: float("inf"))


def check(case: Case, *, threads: ThreadPool | None = None) -> None:
    """Compares the machine code of a case, which must use matrices, with the interpreter."""
    if not runs_on_this_machine(TARGET):
        pytest.skip(f"this machine does not run {TARGET.name}")
    graph, inputs = graph_of([case])
    program = assemble(graph, "case", TARGET, LEVELS[OptLevel.O3].schedule)
    (kernel,) = (function.kernel for function in program.kernels)
    assert 0 < len(kernel.matrices) <= TARGET.matrix_registers
    (expected,) = interpret(graph, inputs).values()
    (result,) = Executable(program, 1).run(inputs, threads=threads).values()
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_best_grid(number: int) -> None:
    check(CASES[number])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("number", [3, 4, 6, 8, 9, 10, 11, 12, 13, 14])
def test_other_grids(number: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(extents: Contraction, registers: int) -> Grid:
        grids = list(candidates(extents, registers))
        fits = [grid for grid in grids if (grid.down, grid.across) == shape]
        if not fits:
            pytest.skip("the contraction is smaller than the grid")
        return fits[-1]

    monkeypatch.setattr(matrix, "choose_grid", chosen)
    check(CASES[number])


@pytest.mark.parametrize("moved", [0, 1000], ids=["columns", "rows"])
@pytest.mark.parametrize("columns", [48, 600])
def test_threads_and_a_residual(columns: int, moved: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and blocks of columns on several threads; each result is made once, over an operand."""
    monkeypatch.setattr(matrix, "_MOVED_TO_READ", moved)
    if not runs_on_this_machine(TARGET):
        pytest.skip(f"this machine does not run {TARGET.name}")
    monkeypatch.setattr(threads, "WORTH_NANOSECONDS", 0.0)
    builder = GraphBuilder("residual")
    x = builder.input("x", TensorType(DType.U8, (77, 256)))
    before = builder.input("before", TensorType(DType.I32, (77, columns)))
    copied = builder.emit(Unary(UnaryFunction.NEG), before)
    weights = builder.constant(whole_range(DType.I8, 256, columns))
    total = builder.emit(MatMul(3, 0), x, weights)
    graph = builder.finish([builder.emit(Binary(BinaryFunction.ADD), total, copied)], ["y"])
    graph = FuseElementwise().run(graph, Statistics())
    program = assemble(graph, "case", TARGET, LEVELS[OptLevel.O3].schedule)
    assert any(f.kernel.matrices and parallel_extent(f.kernel) for f in program.kernels)
    inputs = {"x": whole_range(DType.U8, 77, 256), "before": whole_range(DType.I32, 77, columns)}
    expected = interpret(graph, inputs)["y"]
    executable = Executable(program, 1)
    for pool in (None, ThreadPool(2), ThreadPool(5)):
        np.testing.assert_array_equal(executable.run(inputs, threads=pool)["y"], expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_padded_convolution_on_its_way_through_the_passes(
    strides: tuple[int, int], groups: int
) -> None:
    """Signed input with a zero point, which is what pads; groups are not for matrices."""
    if not runs_on_this_machine(TARGET):
        pytest.skip(f"this machine does not run {TARGET.name}")
    builder = GraphBuilder("padded")
    x = builder.input("x", TensorType(DType.I8, (2, 9, 21, 10)))
    weights = builder.constant(whole_range(DType.I8, 3, 3, 10 // groups, 22, seed=6))
    window = Window((3, 3), strides, (1, 1), (1, 0), (1, 2))
    total = builder.emit(Conv(window, groups, -17), x, weights)
    graph = builder.finish([total], ["y"])
    level = LEVELS[OptLevel.O3]
    prepared = PassManager(level.pipeline(TARGET)).run(graph)
    program = assemble(prepared, "case", TARGET, level.schedule)
    assert any(f.kernel.matrices for f in program.kernels) is (groups == 1)
    inputs = {"x": whole_range(DType.I8, 2, 9, 21, 10, seed=7)}
    result = Executable(program, 1).run(inputs)["y"]
    np.testing.assert_array_equal(result, interpret(graph, inputs)["y"])


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_portable_c_and_the_meaning_of_matrices(tmp_path: Path) -> None:
    for number in (1, 7, 12):
        graph, _ = graph_of([CASES[number]])
        program = assemble(graph, "case", TARGET, LEVELS[OptLevel.O3].schedule)
        (kernel,) = (function.kernel for function in program.kernels)
        assert kernel.matrices
        before = {buffer: sample(buffer.dtype, buffer.size, 1) for buffer in kernel.parameters}
        after = {buffer: content.copy() for buffer, content in before.items()}
        Evaluator(after).run(kernel)
        folder = tmp_path / str(number)
        folder.mkdir()
        result = call(compiled(c_source([kernel]), folder, COMPILERS[0], "-O1"), kernel, before)
        for buffer in kernel.parameters:
            np.testing.assert_array_equal(result[buffer], after[buffer])


def test_grids_fit_and_narrow_products_stay_with_vectors() -> None:
    for extents in (
        Contraction(1, 49, 512, 512, 2048),
        Contraction(56, 56, 144, 48, 64),
        Contraction(7, 7, 1152, 384, 512),
        Contraction(112, 112, 49, 7, 64),
    ):
        grid = choose_grid(extents, 8)
        assert grid.rows <= EXTENT
        assert grid.depth <= EXTENT
        assert extents.run % grid.depth == 0
        assert grid.rows * (grid.tiles - 1) < extents.pixels <= grid.rows * grid.tiles
        assert matrix_cycles(extents, grid) < vector_cycles(extents)
    one_row = Contraction(1, 1, 512, 512, 1000)
    assert matrix_cycles(one_row, choose_grid(one_row, 8)) > vector_cycles(one_row)
