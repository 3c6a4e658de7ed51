"""Quantization by a constant scale: every bit of the division, and images as models take them."""

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.movement import Pad, Transpose
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.fuse_elementwise import FuseElementwise
from tests.codegen.lower.code_case import BUILDS, Build, Case, Known, check, run_code

_SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.2e-38, 3.4e38, -3.4e38, 1.0)


def near_ties(scale: np.float32, rng: np.random.Generator, count: int) -> Array:
    """Floats around scale * (k + 1/2), where one bit of the quotient decides, and special ones."""
    halves = rng.integers(-300, 300, count) + 0.5
    ties = (halves * np.float64(scale)).astype(np.float32)
    moved = (ties.view(np.int32) + rng.integers(-3, 4, count).astype(np.int32)).view(np.float32)
    wild = rng.integers(-(2**31), 2**31, count // 4).astype(np.int32).view(np.float32)
    return np.concatenate([moved, wild, np.asarray(_SPECIAL, np.float32)])


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16])
def test_quantized_near_ties(dtype: DType, build: Build) -> None:
    rng = np.random.default_rng(7)
    cases = []
    for _ in range(12):
        scale = np.float32(2.0 ** rng.uniform(-30, 30))
        zero_point = np.asarray(rng.integers(0, 100), dtype.numpy)
        operands = (near_ties(scale, rng, 4000), Known(np.asarray(scale)), Known(zero_point))
        cases.append(Case(Quantize(dtype), operands))
    # All ones and all zeros in the mantissa; scales that take the division.
    for scale in (np.float32(2 - 2**-23), np.float32(0.25), np.float32(1e-30), np.float32(1e30)):
        cases.append(Case(Quantize(dtype), (near_ties(scale, rng, 500), Known(np.asarray(scale)))))
    check(cases, build)


# An image with its channels first, and the margins around it.
IMAGES = (
    ((1, 3, 9, 70), (0, 1, 2, 0), (0, 1, 0, 1)),
    ((1, 2, 40, 33), (0, 3, 1, 1), (0, 0, 4, 1)),
    ((2, 3, 5, 64), (0, 0, 0, 0), (0, 1, 1, 1)),
    ((1, 1, 1, 80), (0, 0, 2, 0), (0, 0, 1, 1)),
    ((1, 3, 80, 128), (1, 1, 1, 0), (0, 1, 1, 1)),
)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(("dims", "low", "high"), IMAGES)
def test_images_to_padded_channels_last(
    dims: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...], build: Build
) -> None:
    builder = GraphBuilder("image")
    x = builder.input("x", TensorType(DType.F32, dims))
    scale, zero_point = (
        builder.constant(np.asarray(value)) for value in (np.float32(1 / 99), np.uint8(9))
    )
    quantized = builder.emit(Quantize(DType.U8), x, scale, zero_point)
    moved = builder.emit(Transpose((0, 2, 3, 1)), quantized)
    padded = builder.emit(Pad(low, high), moved, zero_point)
    graph = FuseElementwise().run(builder.finish([padded], ["y"]), Statistics())
    assert len(graph.ops) == 1
    inputs = {"x": np.random.default_rng(1).random(dims, np.float32) * 3}
    result = run_code(graph, inputs, build)["y"]
    np.testing.assert_array_equal(result, interpret(graph, inputs)["y"])
