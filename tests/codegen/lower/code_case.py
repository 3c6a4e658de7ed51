"""One op (or graph) as machine code beside its meaning in NumPy: how every lowering is tested.

A case gives operands as arrays to pass at run time, or wrapped in `Known` to be constants.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.executable import Executable
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.lower_recurrent import LowerRecurrent
from tests.ir.random_graphs import random_array


@dataclass(frozen=True, slots=True)
class Build:
    """How code is made: for which target, with which level's schedules and LLVM effort."""

    target: str
    level: OptLevel

    def __str__(self) -> str:
        return f"{self.target}-O{self.level.value}"

    @property
    def runs_here(self) -> bool:
        """True if this machine executes the target's code."""
        return runs_on_this_machine(load_target(self.target))


HERE = tuple(
    build
    for build in (
        Build("x86-64", OptLevel.O0),
        Build("x86-64", OptLevel.O3),
        Build("x86-64-v3", OptLevel.O3),
        Build("x86-64-v4", OptLevel.O3),
    )
    if build.runs_here
)
# The machine's own best build is tested always, the others with the slow tests.
BUILDS = tuple(
    pytest.param(build, id=str(build), marks=() if last else pytest.mark.slow)
    for build, last in zip(HERE, [False] * (len(HERE) - 1) + [True], strict=True)
)


def each_type(quick: Sequence[DType], rest: Sequence[DType]) -> tuple[ParameterSet, ...]:
    """Element types as test parameters; the `rest` are left to the slow tests."""
    return tuple(
        pytest.param(dtype, id=dtype.value, marks=pytest.mark.slow if dtype in rest else ())
        for dtype in (*quick, *rest)
    )


def loop_builds(dtypes: Sequence[ParameterSet]) -> tuple[ParameterSet, ...]:
    """Pairs of an element type and a build, for code with products in deep loops.

    Without an instruction for it every product of half types is a conversion of a dozen steps, and
    LLVM takes long over unrolled loops of them: such builds are left to long runs.
    """
    pairs = []
    for element, build in itertools.product(dtypes, BUILDS):
        (dtype,), (chosen,) = element.values, build.values
        assert isinstance(dtype, DType)
        assert isinstance(chosen, Build)
        converts = dtype in (DType.F16, DType.BF16) and chosen not in (HERE[0], HERE[-1])
        marks = (*element.marks, *build.marks, *((pytest.mark.long,) if converts else ()))
        pairs.append(pytest.param(dtype, chosen, id=f"{dtype.value}-{chosen}", marks=marks))
    return tuple(pairs)


@dataclass(frozen=True, slots=True)
class Known:
    """An operand whose content is a constant of the graph."""

    array: Array


Operand = Array | Known | None


@dataclass(frozen=True, slots=True)
class Case:
    """An op and its operands; rtol and atol of its floats, as multiples of the type's epsilon.

    `atol` counts from the largest element of the result.
    """

    kind: OpKind
    operands: tuple[Operand, ...]
    rtol: float = 0.0
    atol: float = 0.0


def graph_of(cases: Sequence[Case]) -> tuple[Graph, dict[str, Array]]:
    """A graph with one op for each case, and its inputs."""
    builder = GraphBuilder("cases")
    inputs: dict[str, Array] = {}
    outputs: list[Value] = []

    def operand(given: Operand) -> Value | None:
        if isinstance(given, Known):
            return builder.constant(given.array)
        if given is None:
            return None
        name = f"x{len(inputs)}"
        inputs[name] = given
        return builder.input(name, TensorType(DType.from_numpy(given.dtype), given.shape))

    for case in cases:
        outputs += builder.add(case.kind, [operand(given) for given in case.operands])
    return builder.finish(outputs, [f"y{number}" for number in range(len(outputs))]), inputs


@cache
def _necessary() -> tuple[LowerRecurrent, FoldConstants]:
    return LowerRecurrent(), FoldConstants()


def run_code(graph: Graph, inputs: Mapping[str, Array], build: Build) -> dict[str, Array]:
    """The graph's outputs as machine code computes them, without any optimizing pass."""
    for pass_ in _necessary():
        graph = pass_.run(graph, Statistics())
    level = LEVELS[build.level]
    program = assemble(graph, "case", load_target(build.target), level.schedule)
    return Executable(program, min(level.llvm_level, 1)).run(inputs)


def check(cases: Sequence[Case], build: Build) -> None:
    """Compares every result of every case with the interpreter's."""
    graph, inputs = graph_of(cases)
    with np.errstate(all="ignore"):
        expected = interpret(graph, inputs)
    results = run_code(graph, inputs, build)
    owners = [case for case in cases for _ in results_of(case)]
    for name, case in zip(graph.output_names, owners, strict=True):
        assert_close(results[name], expected[name], case.rtol, case.atol, str(case.kind))


def results_of(case: Case) -> tuple[TensorType, ...]:
    """Types of the op's results."""
    arrays = [given.array if isinstance(given, Known) else given for given in case.operands]
    types = [
        None if array is None else TensorType(DType.from_numpy(array.dtype), array.shape)
        for array in arrays
    ]
    return case.kind.infer(types)


def assert_close(got: Array, want: Array, rtol: float, atol: float, what: str) -> None:
    """Same type, NaN where NaN is wanted, and every element within the tolerance."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape), what
    dtype = DType.from_numpy(want.dtype)
    if not dtype.is_float:
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    wide_got, wide_want = got.astype(np.float64), want.astype(np.float64)
    if (rtol, atol) == (0.0, 0.0):
        np.testing.assert_array_equal(wide_got, wide_want, err_msg=what)
        return
    finite = np.abs(wide_want[np.isfinite(wide_want)])
    scale = float(finite.max()) if finite.size else 0.0
    step = epsilon(dtype)
    np.testing.assert_allclose(
        wide_got, wide_want, rtol=rtol * step, atol=atol * step * scale, err_msg=what
    )


def epsilon(dtype: DType) -> float:
    """The distance of 1 to the next larger number of a float type."""
    bits = {DType.F64: 52, DType.F32: 23, DType.F16: 10, DType.BF16: 7}
    return float(2.0 ** -bits[dtype])


def random(dtype: DType, *dims: int, seed: int = 0) -> Array:
    """Random content as `random_graphs` has it."""
    return random_array(TensorType(dtype, dims), np.random.default_rng([seed, *dims]))


def whole_range(dtype: DType, *dims: int, seed: int = 0) -> Array:
    """Every value of the type, evenly."""
    low, high = integer_bounds(dtype)
    rng = np.random.default_rng([seed, *dims])
    return rng.integers(low, high + 1, dims).astype(dtype.numpy)
