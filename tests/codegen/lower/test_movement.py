"""Machine code of ops that only move elements: every bit arrives, whatever the type."""

import numpy as np
import pytest

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.movement import (
    Broadcast,
    Concat,
    Gather,
    Pad,
    PadMode,
    Reshape,
    Slice,
    Transpose,
)
from tests.codegen.lower.code_case import BUILDS, Build, Case, Known, check, each_type, random

TYPES = each_type(
    [DType.F32, DType.F16, DType.U8, DType.I4, DType.BOOL],
    [DType.F64, DType.BF16, DType.F8E5M2, DType.F4E2M1FN, DType.I64, DType.I16, DType.U2],
)


def view_cases(dtype: DType) -> list[Case]:
    x = random(dtype, 3, 4, 5)
    return [
        Case(Reshape((5, 12)), (x,)),
        Case(Reshape((1, 60, 1)), (x,)),
        Case(Transpose((2, 0, 1)), (x,)),
        Case(Transpose((0, 2, 1)), (x,)),
        Case(Transpose((0, 3, 1, 2)), (random(dtype, 2, 5, 3, 18),)),
        Case(Broadcast((2, 3, 4, 5)), (x,)),
        Case(Broadcast((6, 4, 7)), (random(dtype, 4, 1),)),
        Case(Broadcast((3,)), (random(dtype),)),
        Case(Slice((0, 1, 4), (3, 2, 3), (1, 2, -2)), (x,)),
        Case(Slice((2, 3, 0), (3, 4, 5), (-1, -1, 1)), (x,)),
        Case(Slice((0, 0, 0), (3, 0, 5), (1, 1, 1)), (x,)),
    ]


def joining_cases(dtype: DType) -> list[Case]:
    x, y, z = random(dtype, 3, 4, 5), random(dtype, 3, 1, 5, seed=1), random(dtype, 3, 0, 5)
    fill = random(dtype, seed=3)
    cases = [
        Case(Concat(1), (x, y, z, x)),
        Case(Concat(0), (x, x)),
        Case(Concat(2), (x, Known(x))),
        Case(Concat(0), (x,)),
        Case(Pad((1, 0, 2), (0, 2, 1)), (x,)),
        Case(Pad((1, 0, 2), (0, 2, 1)), (x, fill)),
        Case(Pad((0, 0, 0), (0, 0, 0)), (x,)),
        Case(Pad((0, 1), (1, 0)), (random(dtype, 0, 3), fill)),
    ]
    for mode in (PadMode.EDGE, PadMode.REFLECT, PadMode.WRAP):
        cases.append(Case(Pad((2, 0, 3), (1, 3, 4), mode), (x,)))
    return cases


def gather_cases(dtype: DType) -> list[Case]:
    x = random(dtype, 3, 4, 5)
    indices = np.array([[3, 0, -1], [-4, 2, 1]])
    return [
        Case(Gather(1), (x, indices)),
        Case(Gather(1), (x, Known(indices))),
        Case(Gather(0), (x, np.array(2))),
        Case(Gather(2), (x, np.array([4, 4, 0, -5], np.int32))),
        Case(Gather(0), (x, np.zeros((0,), np.int64))),
    ]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_elements_arrive(dtype: DType, build: Build) -> None:
    check([*view_cases(dtype), *joining_cases(dtype), *gather_cases(dtype)], build)
