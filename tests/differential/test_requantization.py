"""Requantization by integers and by floats, sums by every target: millions of operands, no bit off.

Scales are run-time inputs here, so that one kernel meets all of them.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Range, Requantize
from lepton_cc.ir.types import TensorType
from tests.differential.layers import assert_same_bytes
from tests.differential.ways import C_OF_32_BITS, INTEGERS, NATIVE, C, Way
from tests.real_models import Arrays

_WAYS = (*NATIVE, *INTEGERS, *C, *C_OF_32_BITS)
QUICK = [way for way in _WAYS if way.name in ("x86-64", "host-O3")]
_SLOW = ("x86-64-v3", "x86-64-without-floats", "gcc-O3", "clang-O3", "gcc-m32-rv32imc")
SLOW = [way for way in _WAYS if way.name in _SLOW]
WAYS = [*QUICK, *(pytest.param(way, marks=pytest.mark.slow) for way in SLOW)]
RANGES = (
    Range.whole(DType.I16, 0),
    Range.whole(DType.I8, -128),
    Range.whole(DType.U8, 255),
    Range(DType.I8, 3, 3, 90),
    Range(DType.I16, -32768, -32768, 32767),
)

Integers = NDArray[np.int32]
Floats = NDArray[np.float32]


def _scales(exponents: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Mantissas of all ones, of all zeros, next to them, and any."""
    kinds = np.array([0, 1, 0x7FFFFF, 0x7FFFFE, 0x400000, 0x3FFFFF])
    mantissas = rng.integers(0, 1 << 23, exponents.size)
    chosen = rng.integers(0, 2 * kinds.size, exponents.size)
    mantissas = np.where(chosen < kinds.size, kinds[chosen % kinds.size], mantissas)
    return ((exponents + 127) << 23 | mantissas).astype(np.uint32).view(np.float32)


def _boundaries() -> Integers:
    """Around powers of two, and the ends of i32."""
    powers = 2 ** np.arange(32)
    around = (powers[:, None] + np.arange(-3, 4)).reshape(-1)
    both = np.concatenate([around, -around, [3 << 23, 5 << 22, (1 << 25) + 2, (1 << 25) + 6]])
    return np.unique(np.clip(both, -(2**31), 2**31 - 1)).astype(np.int32)


def operands(count: int) -> tuple[Integers, Floats]:
    """Accumulators and scales: `count` of each of four kinds, and all boundaries in pairs."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 32, count)
    plain = (rng.integers(-(2**31), 2**31, count) >> lengths).astype(np.int32)
    plain_scales = _scales(rng.integers(-40, 5, count), rng)
    # Powers of two: products that end in .5, and those next to them.
    halves = rng.integers(1, 17, count)
    ties = ((2 * rng.integers(-(2**14), 2**14, count) + 1) << (halves - 1)) + rng.integers(
        -1, 2, count
    )
    tie_scales = _scales(-halves, rng).view(np.uint32) & np.uint32(0xFF800000)
    # Accumulators next to (k + 1/2) / scale: the first rounding may create a tie or destroy it.
    near_scales = _scales(rng.integers(-31, 1, count), rng)
    wanted = rng.integers(-(2**15), 2**15, count) + 0.5
    near = np.clip(np.rint(wanted / near_scales), -(2**31), 2**31 - 1).astype(np.int64)
    near = np.clip(near + rng.integers(-1, 2, count), -(2**31), 2**31 - 1)
    edge = np.concatenate([_scales(np.full(12, e), rng) for e in (*range(-126, 6), 40, 127)])
    edge = np.concatenate([edge, np.array([1e-45, 1e-40, 1.1754942e-38], np.float32)])
    boundaries = _boundaries()
    accumulators = [
        plain,
        ties.astype(np.int32),
        near.astype(np.int32),
        np.repeat(boundaries, edge.size),
    ]
    scales = [
        plain_scales,
        tie_scales.view(np.float32),
        near_scales,
        np.tile(edge, boundaries.size),
    ]
    return np.concatenate(accumulators), np.concatenate(scales)


def requantizations(count: int) -> Graph:
    """Each range on the same run-time operands."""
    builder = GraphBuilder("requantizations")
    x = builder.input("x", TensorType(DType.I32, (count,)))
    scale = builder.input("scale", TensorType(DType.F32, (count,)))
    outputs = [builder.emit(Requantize(range_), x, scale) for range_ in RANGES]
    return builder.finish(outputs, [f"y{number}" for number in range(len(outputs))])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_requantization_is_the_same_to_the_bit(way: Way, tmp_path: Path) -> None:
    way.require()
    accumulators, scales = operands(1_300_000)
    assert accumulators.size > 4_000_000
    graph = requantizations(accumulators.size)
    _assert_code_is_right(graph, {"x": accumulators, "scale": scales}, way, tmp_path)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_requantization_of_wide_sums_is_the_same_to_the_bit(way: Way, tmp_path: Path) -> None:
    """Of 64 bits, up to 2^47: what two accumulators give, 256 times one and the other."""
    way.require()
    narrow, scales = operands(100_000)
    rng = np.random.default_rng(9)
    size = narrow.size
    shifts = rng.integers(0, 17, size)
    sums = (narrow.astype(np.int64) << shifts) + rng.integers(-(1 << 15), 1 << 15, size)
    sums = np.where(rng.integers(0, 2, size) == 0, narrow.astype(np.int64) << shifts, sums)
    sums = np.clip(sums, -(1 << 47) + 1, (1 << 47) - 1)
    matching = np.ldexp(scales, -shifts).astype(np.float32)
    builder = GraphBuilder("wide")
    x = builder.input("x", TensorType(DType.I64, (size,)))
    scale = builder.input("scale", TensorType(DType.F32, (size,)))
    outputs = [builder.emit(Requantize(range_), x, scale) for range_ in RANGES]
    graph = builder.finish(outputs, [f"y{number}" for number in range(len(outputs))])
    positive = np.maximum(matching, np.float32(2.0**-126))
    _assert_code_is_right(graph, {"x": sums, "scale": positive}, way, tmp_path)


def _assert_code_is_right(graph: Graph, inputs: Arrays, way: Way, folder: Path) -> None:
    run = way.load(way.compile_graph(graph, "sweep"), folder)
    # Products beyond binary32 are infinite on purpose: they saturate.
    with np.errstate(over="ignore"):
        expected = interpret(graph, inputs)
    assert_same_bytes(run(inputs), expected)


def _sums(rng: np.random.Generator) -> list[QuantizedAdd]:
    """Usual parameters, ties, scales far apart, sums that cancel, offsets of every size."""
    kinds = []
    for _ in range(24):
        (sa, sb), sc = np.exp2(rng.uniform(-9, -3, 2)), np.exp2(rng.uniform(-9, -2))
        za, zb, zc = (int(z) for z in rng.integers(-128, 128, 3))
        kinds.append(QuantizedAdd.of((sa, za), (sb, zb), sc, Range.whole(DType.I8, zc)))
    whole = Range.whole(DType.I8, 0)
    exact = [
        *((2.0**-i, 2.0**-j, k / 4) for i, j, k in ((0, 1, 0), (1, 1, 2), (2, 1, -1), (7, 0, 3))),
        (0.5, -0.5, 0.0),
        (1.0, 2.0**-20, 0.5),
        (2.0**-30, 1.0, 2.0**-40),
        (1.0, 2.0**-60, 0.5),
        (2.0**-90, 2.0**-100, 0.5),
        (0.1, -0.1, 1e-9),
        (3e4, -3e4, 1e7),
        (1e-9, 1e-9, -0.5),
        (0.4999999, 0.4999999, 0.0),
    ]
    for lhs, rhs, offset in exact:
        a, b, c = (float(np.float32(x)) for x in (lhs, rhs, offset))
        kinds.append(QuantizedAdd(a, b, c, whole))
        kinds.append(QuantizedAdd(a, b, c, Range(DType.I16, 0, -20000, 32767)))
    return kinds


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8], ids=lambda dtype: str(dtype.value))
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_sums_of_all_pairs_are_the_same_to_the_bit(way: Way, dtype: DType, tmp_path: Path) -> None:
    way.require()
    builder = GraphBuilder("sums")
    type_ = TensorType(dtype, (1 << 16,))
    lhs, rhs = builder.input("lhs", type_), builder.input("rhs", type_)
    outputs = [builder.emit(kind, lhs, rhs) for kind in _sums(np.random.default_rng(3))]
    graph = builder.finish(outputs, [f"y{number}" for number in range(len(outputs))])
    pairs = np.arange(1 << 16)
    inputs = {
        "lhs": (pairs >> 8).astype(np.uint8).view(dtype.numpy),
        "rhs": (pairs & 255).astype(np.uint8).view(dtype.numpy),
    }
    _assert_code_is_right(graph, inputs, way, tmp_path)


def _products(dtype: DType, rng: np.random.Generator) -> list[QuantizedMul]:
    """Usual parameters, ties at powers of two, results that vanish and that saturate."""
    low, high = integer_bounds(dtype)
    points = (low, high, 0, int(rng.integers(low, high)))
    scales = [*np.exp2(rng.uniform(-20, 4, 16)), *2.0 ** np.arange(-34, 34, 3), 1e-40, 3e38, 0.75]
    kinds = []
    for number, scale in enumerate(scales):
        za, zb, zc = (points[(number // step) % 4] for step in (1, 3, 5))
        result = Range.whole(dtype, zc)
        narrow = Range(dtype, zc, min(low + 20, zc), max(high - 20, zc))
        kinds += [QuantizedMul(za, zb, float(np.float32(scale)), r) for r in (result, narrow)]
    return kinds


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16], ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_products_are_the_same_to_the_bit(way: Way, dtype: DType, tmp_path: Path) -> None:
    """All pairs of bytes; of 16-bit integers as many, near each other's ends and anywhere."""
    way.require()
    builder = GraphBuilder("products")
    type_ = TensorType(dtype, (1 << 16,))
    lhs, rhs = builder.input("lhs", type_), builder.input("rhs", type_)
    rng = np.random.default_rng(8)
    outputs = [builder.emit(kind, lhs, rhs) for kind in _products(dtype, rng)]
    graph = builder.finish(outputs, [f"y{number}" for number in range(len(outputs))])
    pairs = np.arange(1 << 16)
    first, second = pairs >> 8, pairs & 255
    if dtype.bits == 16:
        first, second = rng.integers(0, 1 << 16, (2, 1 << 16)) >> rng.integers(0, 17, (2, 1 << 16))
    word = np.dtype(f"u{dtype.bits // 8}")
    inputs = {
        "lhs": first.astype(word).view(dtype.numpy),
        "rhs": second.astype(word).view(dtype.numpy),
    }
    _assert_code_is_right(graph, inputs, way, tmp_path)
