"""Machine code of every pointwise function and cast, for every element type, against NumPy."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.pointwise_functions import accepts
from lepton_cc.ir.tensor import Array
from tests.codegen.lower.code_case import BUILDS, Build, Case, Known, check, each_type, random

QUICK = [DType.F32, DType.F16, DType.I64, DType.I8, DType.U32, DType.I4, DType.BOOL]
# The floats of up to 8 bits are interchange formats: they are only converted.
COMPUTED = each_type(QUICK, [d for d in DType if d not in QUICK and (d.bits > 8 or not d.is_float)])
CONVERTED = each_type(QUICK, [d for d in DType if d not in QUICK])
# Own approximations, and NumPy's are not exact either: this many units in the last place.
_ULPS = 4.0
_INEXACT = frozenset(
    {U.EXP, U.LOG, U.LOG1P, U.SIN, U.COS, U.TAN, U.ASIN, U.ACOS, U.ATAN, U.SINH, U.COSH, U.TANH}
    | {U.ASINH, U.ACOSH, U.ATANH, U.ERF, U.SIGMOID, U.GELU, B.POW}
)


def samples(dtype: DType, seed: int) -> Array:
    """37 elements (a prime: full vectors and a tail), the type's odd ones among them."""
    if dtype is DType.BOOL:
        return random(dtype, 37, seed=seed)
    if dtype.is_float:
        ordinary = random(DType.F64, 37, seed=seed) * 3
        ordinary[:9] = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, np.inf, -np.inf, np.nan)
        if seed:
            np.random.default_rng(seed).shuffle(ordinary)
        return ordinary.astype(dtype.numpy)
    bits = dtype.bits - int(dtype.is_signed_integer)
    low = -(1 << bits) if dtype.is_signed_integer else 0
    odd = [low, low + 1, (1 << bits) - 1, 0, 1]
    rest = np.random.default_rng(seed).integers(max(low, -9), min(1 << bits, 10), 32)
    content = [*odd, *(int(element) for element in rest)]
    if seed:
        np.random.default_rng(seed).shuffle(content)
    wide = np.array(content, dtype=np.uint64 if dtype is DType.U64 else np.int64)
    return wide.astype(dtype.numpy)


def unary_cases(dtype: DType) -> list[Case]:
    # NumPy's gelu of binary64 cancels digits for negative numbers.
    cancelled = {U.GELU} if dtype is DType.F64 else set()
    return [
        Case(
            Unary(function),
            (samples(dtype, 0),),
            rtol=_ULPS if function in _INEXACT else 0.0,
            atol=1.0 if function in cancelled else 0.0,
        )
        for function in U
        if accepts(function, dtype)
    ]


def binary_cases(dtype: DType) -> list[Case]:
    cases = []
    for function in B:
        if not accepts(function, dtype) or (function is B.POW and not dtype.is_float):
            continue
        lhs, rhs = samples(dtype, 1), samples(dtype, 2)
        if function in (B.SHIFT_LEFT, B.SHIFT_RIGHT):
            rhs = np.clip(rhs.astype(np.int64), 0, dtype.bits - 1).astype(dtype.numpy)
        cases.append(Case(Binary(function), (lhs, rhs), _ULPS if function in _INEXACT else 0.0))
    return cases


def other_cases(dtype: DType) -> Iterator[Case]:
    x, y = samples(dtype, 3), samples(dtype, 4)
    condition = random(DType.BOOL, 37, seed=5)
    yield Case(Select(), (condition, x, y))
    yield Case(Select(), (np.array(True), x, Known(y[:1])))
    if dtype is not DType.BOOL:
        yield Case(Clamp(0.0, 6.0 if dtype.bits > 2 else 1.0), (x,))


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", COMPUTED)
def test_functions(dtype: DType, build: Build) -> None:
    check([*unary_cases(dtype), *binary_cases(dtype), *other_cases(dtype)], build)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("source", CONVERTED)
def test_casts_to_every_type(source: DType, build: Build) -> None:
    x = samples(source, 0)
    if source.is_float and source.bits <= 8:
        # NumPy's own table of all codes.
        x = np.arange(1 << source.bits, dtype=np.uint8).view(source.numpy)
    if source.is_float:
        with np.errstate(all="ignore"):
            x = np.concatenate([x, (x.astype(np.float32) * 100).astype(source.numpy)])
    narrow = [target for target in DType if target.is_float and target.bits <= 8]
    kinds = [*(Cast(target) for target in DType), *(Cast(t, saturate=False) for t in narrow)]
    check([Case(kind, (x,)) for kind in kinds], build)


SHAPES = ((), (1,), (5,), (3, 1), (2, 3, 1), (1, 1, 5), (2, 1, 5), (2, 3, 5), (0,), (1, 16))


@pytest.mark.parametrize("build", BUILDS)
def test_shapes_broadcast(build: Build) -> None:
    pairs = [
        (lhs, rhs)
        for lhs, rhs in itertools.product(SHAPES, repeat=2)
        if all(a == b or 1 in (a, b) for a, b in zip(lhs[::-1], rhs[::-1], strict=False))
    ]
    check(
        [
            Case(Binary(B.SUB), (random(DType.F32, *lhs, seed=1), random(DType.F32, *rhs, seed=2)))
            for lhs, rhs in pairs
        ],
        build,
    )
