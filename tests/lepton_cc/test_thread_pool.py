"""Parallel loops give the serial run's bytes, however their ranges are cut and on any threads."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.networks import mobilenet_v2
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.thread_pool import Range, ThreadPool, even_ranges
from tests import real_models

# What is tested is which rows a task computes, so that LLVM need not try hard.
LLVM_LEVEL = 1
SMALL = 96  # a side of MobileNetV2's image here, for a quick build


def one_by_one(count: int, _: int) -> Sequence[Range]:
    """Ranges of one iteration, the last first."""
    return tuple((i, i + 1) for i in reversed(range(count)))


def at_random(count: int, _: int) -> Sequence[Range]:
    """Ranges of uneven lengths in any order; the seed is the length."""
    shuffled = random.Random(count)
    cuts = sorted(shuffled.sample(range(1, count), min(5, count - 1)))
    ranges = list(zip([0, *cuts], [*cuts, count], strict=True))
    shuffled.shuffle(ranges)
    return ranges


Cut = Callable[[int, int], Sequence[Range]]
CUTS: Sequence[tuple[int, Cut]] = (
    (1, even_ranges),
    (2, even_ranges),
    (3, even_ranges),
    (7, even_ranges),
    (4, one_by_one),
    (3, at_random),
)


def assert_same_bytes(model: Path | onnx.ModelProto) -> None:
    program = compile_model(model, CompileOptions(load_target("host"))).program
    assert sum(parallel_extent(f.kernel) is not None for f in program.kernels) > 0
    executable = Executable(program, LLVM_LEVEL)
    random_values = np.random.default_rng(0)
    inputs = {
        port.name: random_values.standard_normal(port.type.dims).astype(port.type.dtype.numpy)
        for port in program.inputs
    }
    expected = executable.run(inputs)
    for num_threads, cut in CUTS:
        used: list[int] = []

        def counted(count: int, parts: int, cut: Cut = cut, used: list[int] = used) -> list[Range]:
            ranges = list(cut(count, parts))
            used.append(len(ranges))
            return ranges

        got = executable.run(inputs, threads=ThreadPool(num_threads, counted))
        assert used, "no loop was handed out"
        assert {name: a.tobytes() for name, a in got.items()} == {
            name: a.tobytes() for name, a in expected.items()
        }


@pytest.mark.slow
def test_mobilenet_v2() -> None:
    assert_same_bytes(mobilenet_v2(SMALL))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(real_models.TINY[2], id="vww"),
        pytest.param(real_models.OTHER[6], id="yunet", marks=pytest.mark.slow),
    ],
)
def test_real_models(model: real_models.RealModel) -> None:
    assert_same_bytes(model.require())


@pytest.mark.parametrize(("count", "parts"), [(1, 4), (4, 4), (7, 3), (100, 1), (3, 16)])
def test_even_ranges(count: int, parts: int) -> None:
    ranges = even_ranges(count, parts)
    assert [i for begin, end in ranges for i in range(begin, end)] == list(range(count))
    lengths = [end - begin for begin, end in ranges]
    assert max(lengths) - min(lengths) <= 1
    assert len(ranges) <= parts


def test_no_threads_is_refused() -> None:
    with pytest.raises(UsageError):
        ThreadPool(0)
