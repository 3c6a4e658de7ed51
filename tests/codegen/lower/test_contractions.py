"""Machine code of matrix products, reductions, argmin/argmax and softmax."""

import itertools

import numpy as np
import pytest

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.accumulator import accumulator_dtype
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce, Reduce, ReduceFunction, Softmax
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
INTEGERS = each_type([DType.I8, DType.I32, DType.U64], [DType.U8, DType.I16, DType.U32, DType.I64])
# Sums run in another order than NumPy's: this many epsilons of the largest result.
_SUM = 16.0
# Shapes of the two sides.
PRODUCTS = (
    ((1, 1), (1, 1)),
    ((1, 70), (70, 33)),
    ((7, 5), (5, 3)),
    ((40, 16), (16, 48)),
    ((3, 13, 6), (6, 20)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((2, 3, 4, 5), (2, 3, 5, 17)),
    ((4, 5), (2, 5, 3)),
    ((3, 0), (0, 4)),
)
SHAPES = ((37,), (3, 19), (2, 3, 5), (4, 1, 6), (2, 33, 3), (1, 1))


@pytest.mark.parametrize("known", [True, False], ids=["constant", "variable"])
@pytest.mark.parametrize(("dtype", "build"), loop_builds([*FLOATS, *INTEGERS]))
def test_matrix_products(dtype: DType, known: bool, build: Build) -> None:
    cases = []
    for left, right in PRODUCTS:
        lhs, rhs = random(dtype, *left, seed=1), random(dtype, *right, seed=2)
        bias = random(accumulator_dtype(dtype, dtype), right[-1], seed=3)
        operands = (Known(rhs), Known(bias)) if known else (rhs, bias)
        cases += [
            Case(MatMul(), (lhs, *operands), atol=_SUM),
            Case(MatMul(), (lhs, operands[0]), atol=_SUM),
        ]
    check(cases, build)


@pytest.mark.parametrize(
    ("dtype", "build"), loop_builds([*FLOATS, *INTEGERS, *each_type([DType.BOOL], [])])
)
def test_reductions(dtype: DType, build: Build) -> None:
    functions = [
        function
        for function in ReduceFunction
        if dtype is not DType.BOOL or function in (ReduceFunction.MAX, ReduceFunction.MIN)
    ]
    if not dtype.is_float:
        functions = [function for function in functions if function is not ReduceFunction.MEAN]
    cases = []
    for shape in SHAPES:
        axes_sets = [
            axes
            for size in range(len(shape) + 1)
            for axes in itertools.combinations(range(len(shape)), size)
        ]
        for number, (function, axes) in enumerate(itertools.product(functions, axes_sets)):
            kind = Reduce(function, axes, keep_dims=number % 2 == 0)
            cases.append(Case(kind, (random(dtype, *shape),), rtol=_SUM, atol=_SUM))
    check(cases, build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_extremes_are_exact(dtype: DType, build: Build) -> None:
    cases = []
    for shape in SHAPES:
        x = random(dtype, *shape)
        if dtype.is_float and x.size > 8:
            x.reshape(-1)[[3, 5]] = np.nan
            x.reshape(-1)[7] = np.inf
        for axis, last, function in itertools.product(
            range(len(shape)), (False, True), ArgFunction
        ):
            kind = ArgReduce(function, axis, keep_dims=last, select_last=last)
            cases.append(Case(kind, (x,)))
        for extreme in (ReduceFunction.MAX, ReduceFunction.MIN):
            cases += [Case(Reduce(extreme, (axis,)), (x,)) for axis in range(len(shape))]
    check(cases, build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("function", [ReduceFunction.MAX, ReduceFunction.SUM, ReduceFunction.PROD])
def test_reductions_of_nothing(function: ReduceFunction, build: Build) -> None:
    kinds = [Reduce(function, (0,)), Reduce(function, (1,)), Reduce(function, (0, 1), False)]
    check([Case(kind, (np.zeros((0, 5), np.float32),)) for kind in kinds], build)


@pytest.mark.parametrize(("dtype", "build"), loop_builds(FLOATS))
def test_softmax(dtype: DType, build: Build) -> None:
    cases = []
    for shape in SHAPES:
        x = (random(dtype, *shape) * np.asarray(9, dtype.numpy)).astype(dtype.numpy)
        for axis, log in itertools.product(range(len(shape)), (False, True)):
            cases.append(Case(Softmax(axis, log), (x,), rtol=16.0, atol=8.0))
    check(cases, build)
