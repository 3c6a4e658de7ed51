"""Integer layers with many zeros are the same bytes as dense ones, in every form, everywhere."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.compiler import Compilation, CompileOptions
from lepton_cc.executable import Executable
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.target import DotProduct
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from lepton_cc.thread_pool import ThreadPool
from tests.codegen.lower.code_case import Case, Known, graph_of, whole_range
from tests.codegen.lower.sparse_weights import CASES, FEW, blocks
from tests.codegen.lower.test_windows import window
from tests.differential.layers import assert_same_bytes
from tests.differential.ways import EMULATED, INTEGERS, NATIVE, C, Way

_VNNI = "x86-64-v4-vnni"
_WAYS = (*NATIVE, *INTEGERS, *C, *EMULATED)


def _check(cases: Sequence[Case], way: Way, folder: Path) -> None:
    way.require()
    graph, inputs = graph_of(cases)
    run = way.load(way.compile_graph(graph, "sparse"), folder)
    assert_same_bytes(run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("name", ["x86-64-v3", _VNNI, "rv32imc"])
def test_each_form(name: str, tmp_path: Path) -> None:
    _check(FEW, next(way for way in _WAYS if way.name == name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", _WAYS, ids=str)
def test_many_shapes(way: Way, tmp_path: Path) -> None:
    _check(CASES, way, tmp_path)


def _portable(graph: Graph, way: Way) -> Compilation:
    """For a scalar core without dot products, as C for this machine."""
    target = replace(way.loaded_target, dot_product=DotProduct.NONE)
    level = LEVELS[way.level]
    manager = PassManager(level.pipeline(target))
    after = manager.run(graph)
    program = assemble(after, "sparse", target, level.schedule, reorder=level.reorder)
    return Compilation(
        CompileOptions(target, way.level), graph, after, manager.records, program, (), ()
    )


def _check_portable(cases: Sequence[Case], compiler: str, level: OptLevel, folder: Path) -> None:
    way = Way("portable", "portable", level, compiler, ("-O1",))
    way.require()
    graph, inputs = graph_of(cases)
    compilation = _portable(graph, way)
    dense = [op.inputs[1].type.dims for op in graph.ops if len(op.inputs) > 1]
    assert compilation.program.constants_bytes < sum(map(math.prod, dense))
    assert_same_bytes(way.load(compilation, folder)(inputs), interpret(graph, inputs))


def test_c_of_scalar_forms(tmp_path: Path) -> None:
    _check_portable(FEW, "gcc", OptLevel.O3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", [OptLevel.O3, OptLevel.OS])
def test_c_of_many_shapes(compiler: str, level: OptLevel, tmp_path: Path) -> None:
    _check_portable(CASES, compiler, level, tmp_path)


@pytest.mark.skipif(not runs_on_this_machine(load_target(_VNNI)), reason="no VNNI here")
@pytest.mark.parametrize("size", [1, 3])
def test_any_cut_between_threads(size: int) -> None:
    shape = window((size, size))
    x = whole_range(DType.U8, 1, 20 + size, 21, 128)
    weights = blocks(128 * size * size, 64, (4, 16), 0.75).astype(np.int8)
    content = Known(weights.reshape(size, size, 128, 64))
    graph, inputs = graph_of([Case(Conv(shape, 1, 100), (x, content))])
    program = assemble(graph, "case", load_target(_VNNI), LEVELS[OptLevel.O3].schedule)
    assert all(parallel_extent(lowered.kernel) is not None for lowered in program.kernels)
    pool = ThreadPool(2, lambda count, parts: [(i, i + 1) for i in reversed(range(count))])
    threaded = Executable(program, 1).run(inputs, threads=pool)
    np.testing.assert_array_equal(threaded["y0"], interpret(graph, inputs)["y0"])
