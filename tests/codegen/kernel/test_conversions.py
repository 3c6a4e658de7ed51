"""Conversions against the interpreter's cast and, for narrow floats, all their encodings."""

import numpy as np
import pytest

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Var
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.numpy_math import cast_array
from tests.codegen.kernel.expression_evaluator import Value, evaluate, numpy_type

NARROW = tuple(dtype for dtype in DType if dtype.is_float and dtype.bits < 32)


def _floats(dtype: DType) -> Value:
    rng = np.random.default_rng(5)
    word = np.uint32 if dtype is DType.F32 else np.uint64
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 2.0**31, -(2.0**31), 2.0**32, 65519.0, 65520.0]
    with np.errstate(over="ignore"):
        parts = [
            rng.integers(0, np.iinfo(word).max, 100_000, dtype=word).view(dtype.numpy),
            rng.uniform(-70000, 70000, 20_000),
            rng.uniform(-(2.0**33), 2.0**33, 20_000),
            np.ldexp(rng.integers(-4096, 4096, 50_000), rng.integers(-40, 8, 50_000)),
            np.array(edges),
        ]
        return np.concatenate([part.astype(dtype.numpy) for part in parts])


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("source", [DType.F32, DType.F64], ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("target", NARROW, ids=lambda dtype: dtype.value)
def test_encodings_equal_numpys(source: DType, target: DType, saturate: bool) -> None:
    values = _floats(source)
    x = Var(source, "x")
    saturate = saturate and target.bits <= 8
    code = evaluate(kernel_math.encode(x, target, saturate=saturate), {x: values})
    with np.errstate(all="ignore"):
        expected = cast_array(values, target, saturate=saturate).view(code.dtype)
    different = code != expected
    if target is DType.F16:  # signalling NaN become quiet here, NumPy keeps them
        different &= ~np.isnan(values)
    assert not different.any(), values[different][:4]


@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.value)
def test_every_encoding_decodes(dtype: DType) -> None:
    storage = kernel_math.storage_type(dtype)
    code = Var(storage, "code")
    codes = np.arange(2**dtype.bits).astype(storage.numpy)
    values = evaluate(kernel_math.decode(code, dtype), {code: codes})
    expected = codes.view(dtype.numpy).astype(np.float32)
    same = values.view(np.uint32) == expected.view(np.uint32)
    assert (same | (np.isnan(values) & np.isnan(expected))).all()


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("source", [DType.F32, DType.F64], ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("target", [d for d in DType if d.is_integer or d is DType.BOOL])
def test_floats_become_integers_as_in_the_interpreter(source: DType, target: DType) -> None:
    values = _floats(source)
    if target.is_integer and target.bits == 64:  # beyond, it is the machine's choice
        values = values[~(np.abs(values) >= 2.0**63)]
    x = Var(source, "x")
    result = evaluate(kernel_math.convert(x, source, target), {x: values})
    expected = cast_array(values, target, saturate=False)
    np.testing.assert_array_equal(result, expected.astype(numpy_type(target)))


@pytest.mark.parametrize("source", [DType.I64, DType.U32, DType.I8, DType.BOOL])
@pytest.mark.parametrize("target", DType, ids=lambda dtype: dtype.value)
def test_integers_convert_as_in_the_interpreter(source: DType, target: DType) -> None:
    rng = np.random.default_rng(6)
    raw = rng.integers(-(2**63), 2**63 - 1, 5000, dtype=np.int64)
    values = np.concatenate([raw >> rng.integers(0, 63, 5000), [0, 1, -1]]).astype(source.numpy)
    x = Var(source, "x")
    result = evaluate(kernel_math.convert(x, source, target), {x: values})
    with np.errstate(all="ignore"):
        expected = cast_array(values, target, saturate=False)
    if kernel_math.storage_type(target) is not target:
        expected = expected.astype(np.float32)
    np.testing.assert_array_equal(result, expected.astype(result.dtype))
