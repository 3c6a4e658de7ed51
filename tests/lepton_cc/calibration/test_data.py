"""Calibration data: read as they are, and everything that is wrong with them said at once."""

import os
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.calibration.data import calibration_data, made_up_data, watched
from lepton_cc.ir.diagnostics import Code, Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.tensor import Array

ONE = parse_graph("graph one(%x: f32[1, 3]) {\n  %y = exp(%x)\n  return %y as y\n}", source="one")
TWO = parse_graph(
    "graph two(%a: f32[1, 2], %b: f32[3]) {\n  %c = exp(%a)\n  %d = exp(%b)\n"
    "  return %c as c, %d as d\n}",
    source="two",
)


def _numbers(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _messages(graph: Graph, source: Path | dict[str, Array]) -> list[str]:
    with pytest.raises(Refused) as caught:
        calibration_data(graph, source)
    assert all(one.code is Code.BAD_CALIBRATION_DATA for one in caught.value.diagnostics)
    return [one.message for one in caught.value.diagnostics]


@pytest.mark.parametrize("shape", [(5, 1, 3), (5, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_gives_what_the_arrays_give(
    shape: tuple[int, ...], order: str, tmp_path: Path
) -> None:
    x = np.asarray(_numbers(*shape), order="F" if order == "F" else "C")
    np.savez_compressed(tmp_path / "data.npz", pixels=x, y=np.arange(5))
    from_file = calibration_data(ONE, tmp_path / "data.npz")
    from_memory = calibration_data(ONE, {"x": x})
    assert from_file.sha256 == from_memory.sha256
    for data in (from_file, from_memory, from_file):
        got = [sample["x"] for sample in data.samples()]
        np.testing.assert_array_equal(np.stack(got), x.reshape(5, 1, 3))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=_numbers(4000, 1, 300))
    wide = parse_graph(
        "graph wide(%x: f32[1, 300]) {\n  %y = exp(%x)\n  return %y as y\n}", source="wide"
    )
    tracemalloc.start()
    data = calibration_data(wide, tmp_path / "data.npz")
    assert sum(1 for _ in islice(data.samples(), 1000)) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert data.num_samples == 4000
    assert peak < 1_000_000


def test_hashes_tell_data_apart() -> None:
    x = _numbers(4, 3)
    hashes = {calibration_data(ONE, {"x": array}).sha256 for array in (x, x + 1, x[:3], x[:, None])}
    assert len(hashes) == 4


def test_all_problems_are_said_at_once() -> None:
    broken = _numbers(4, 2)
    broken[2, 1] = np.nan
    broken[3, 0] = np.inf
    first, second = _messages(TWO, {"a": broken, "b": np.ones((7, 3), np.float32)})[:2]
    assert "'a' has 2 NaN or infinite elements, the first in sample 2" in first
    assert "'b' is 1 everywhere" in second
    assert (
        "numbers of samples differ" in _messages(TWO, {"a": _numbers(4, 2), "b": _numbers(7, 3)})[0]
    )


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"a": _numbers(4, 2)}, "input 'b' (f32[3]) is missing"),
        ({"a": _numbers(4, 2), "b": _numbers(4, 3).astype(np.float64)}, "'b' is float64[4, 3]"),
        ({"a": _numbers(4, 2), "b": _numbers(4, 2)}, "'b' is float32[4, 2], the model takes"),
        ({"a": _numbers(0, 2), "b": _numbers(4, 3)}, "'a' holds no sample"),
    ],
    ids=["missing", "dtype", "shape", "empty"],
)
def test_forms_that_do_not_fit(arrays: dict[str, Array], text: str) -> None:
    assert any(text in message for message in _messages(TWO, arrays))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert "cannot read" in _messages(ONE, path)[0]


def test_python_objects_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.array([os.sep, None], dtype=object))
    assert "Python objects" in _messages(ONE, tmp_path / "data.npz")[0]


def test_made_up_samples_are_the_same_each_time() -> None:
    data = made_up_data(TWO)
    assert data.is_made_up
    first, second = list(data.samples()), list(data.samples())
    assert len(first) == data.num_samples == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["a"], other["a"])
        np.testing.assert_array_equal(one["b"], other["b"])


def test_each_run_through_the_samples_is_told() -> None:
    told: list[str] = []
    data = watched(calibration_data(ONE, {"x": _numbers(250, 1, 3)}), told.append)
    for _ in range(2):
        assert len(list(data.samples())) == 250
    assert len(told) == 200
    assert told[0] == "run 1, sample 0 of 250"
    assert told[-1] == "run 2, sample 248 of 250"
