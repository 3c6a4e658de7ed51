"""One pass over the samples against the NumPy interpreter; the same bytes each time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.calibration.float_run import inner_run
from lepton_cc.calibration.method import Method
from lepton_cc.calibration.statistics import calibration_statistics
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Code, Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.quantization_points import quantization_points


@pytest.fixture(scope="module")
def digits(project_root: Path) -> Graph:
    path = project_root / "models" / "digits_dscnn.onnx"
    return PassManager(BEFORE_QUANTIZATION).run(import_model(path))


@pytest.fixture(scope="module")
def images(project_root: Path) -> Array:
    with np.load(project_root / "models" / "digits_samples.npz") as arrays:
        found: Array = arrays["x"][:12, None]
    return found


def _samples(images: Array) -> Iterator[dict[str, Array]]:
    for image in images:
        yield {"image": image}


def test_inner_values_are_the_interpreters(digits: Graph, images: Array) -> None:
    wanted = [*digits.inputs, *(op.result for op in digits.ops if len(op.inputs) > 1)]
    got = inner_run(digits, wanted)({"image": images[0]})
    seen: dict[str, Array] = {"image": images[0]}
    interpret(digits, {"image": images[0]}, lambda value, array: seen.update({value.name: array}))
    assert set(got) == {value.name for value in wanted}
    for name, array in got.items():
        np.testing.assert_allclose(array, seen[name], rtol=1e-4, atol=1e-5)


def test_ranges_and_moments_are_those_of_all_samples(digits: Graph, images: Array) -> None:
    found = calibration_statistics(digits, _samples(images), Method.MIN_MAX)
    seen: dict[str, list[Array]] = {"image": list(images)}
    for sample in _samples(images):
        interpret(
            digits, sample, lambda value, array: seen.setdefault(value.name, []).append(array)
        )
    points = quantization_points(digits)
    assert set(found.ranges) == {value.name for value in points.measured}
    assert found.num_samples == len(images)
    for name, interval in found.ranges.items():
        assert interval.low == pytest.approx(float(np.min(seen[name])), rel=1e-4, abs=1e-5)
        assert interval.high == pytest.approx(float(np.max(seen[name])), rel=1e-4, abs=1e-5)
    assert set(found.moments) == {op.inputs[0].name for op in points.contractions}
    for name, moments in found.moments.items():
        rows = np.concatenate(seen[name]).reshape(-1, seen[name][0].shape[-1])
        np.testing.assert_allclose(moments.means, rows.mean(axis=0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(moments.squares, (rows**2).mean(axis=0), rtol=1e-3, atol=1e-5)


def test_the_interface_is_never_cut_off(digits: Graph, images: Array) -> None:
    whole = calibration_statistics(digits, _samples(images), Method.MIN_MAX).ranges
    cut = calibration_statistics(digits, _samples(images), Method.MSE).ranges
    assert cut["image"] == whole["image"]
    assert any(cut[name] != whole[name] for name in whole)


def test_masks_do_not_set_the_range_of_what_softmax_reads() -> None:
    graph = parse_graph(
        "graph masked(%x: f32[1, 3]) {\n"
        "  %mask = constant f32[3] (0, -1e9, 0)\n"
        "  %sum = add(%x, %mask)\n"
        "  %y = softmax(%sum) {axis = 1}\n"
        "  return %y as y\n}",
        source="masked",
    )
    samples = [{"x": np.array([[1.0, 2.0, -3.0]], np.float32)}]
    found = calibration_statistics(graph, samples, Method.MSE).ranges["sum"]
    assert found.low == pytest.approx(-15.0, rel=0.05)
    assert found.high == pytest.approx(1.0, abs=0.1)


def test_values_that_are_not_finite_are_refused_by_name() -> None:
    graph = parse_graph(
        "graph root(%x: f32[1, 2]) {\n"
        "  %below = log(%x) loc(\"Log 'below'\")\n"
        "  %w = constant f32[2, 2] (1, 2, 3, 4)\n"
        "  %y = matmul(%below, %w)\n"
        "  return %y as y\n}",
        source="root",
    )
    samples = [{"x": np.array([[1.0, 2.0]], np.float32)}, {"x": np.array([[1.0, 0.0]], np.float32)}]
    with pytest.raises(Refused) as caught:
        calibration_statistics(graph, samples, Method.MSE)
    first = caught.value.diagnostics[0]
    assert first.code is Code.BAD_CALIBRATION_DATA
    assert first.node == "Log 'below'"
    assert "sample 1" in first.message
