"""Quantized networks beside libraries: the tables, and one network through all of it."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.int8_contest import PeerTime, Result, measure
from benchmarks.int8_networks import Network, Reference, write_forms
from benchmarks.int8_page import Measured, bound_row, layer_row, speed_row, threads_row
from benchmarks.peers.lite_rt import LiteRt
from benchmarks.peers.peer import Absent, Forms
from benchmarks.peers.registry import PEERS
from benchmarks.quantized_networks import quantized
from lepton_cc.ir.tensor import Array
from lepton_cc.measure.layer_times import LayerTime
from lepton_cc.measure.peak import Peaks
from lepton_cc.report import LayerReport


def _layer(num_macs: int, *, matrix: bool = False) -> LayerTime:
    shape = (1, 8, 8, 4)
    layer = LayerReport(0, "conv", ("c",), "y", "i8", shape, num_macs, 0, 0, "k0", matrix)
    return LayerTime(layer, "conv", 0.5, seconds=5e-6)


PEAKS = Peaks(f32=50.0, i8=200.0, matrix=1600.0)
SLOW, FAST = PeerTime("slow", 200e-6), PeerTime("fast", 100e-6)
GONE = PeerTime("gone", None, "is not installed")
ONE = Result(
    "net",
    1,
    50e-6,
    1_000_000,
    4_000,
    (SLOW, FAST, GONE),
    (_layer(600_000), _layer(400_000, matrix=True)),
)
TWO = Result(
    "net", 2, 40e-6, 1_000_000, 4_000, (PeerTime("slow", 80e-6), PeerTime("fast", 90e-6), GONE), ()
)


@dataclass(frozen=True, slots=True)
class _Constant:
    """A library that needs a microsecond for each run and gives one number for everything."""

    number: float
    name: str = "constant"
    version: str = "constant 1.0"

    @property
    def output(self) -> Array:
        return np.full((10,), self.number, np.float32)

    def seconds(self, num_runs: int) -> float:
        return 1e-6

    def load(self, forms: Forms, num_threads: int) -> "_Constant":
        return self


@pytest.fixture(scope="module")
def digits(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    def load() -> onnx.ModelProto:
        return quantized(onnx.load(project_root / "models" / "digits_cnn.onnx"))

    return write_forms(Network("digits", load), tmp_path_factory.mktemp("forms"))


def test_row_of_one_thread_names_the_fastest() -> None:
    assert speed_row(ONE, PEAKS) == ("| net | 50.0 | 200.0 | 100.0 | - | fast | 2.00 | 20.0 | 6% |")


def test_row_of_two_threads_says_what_they_gain() -> None:
    assert threads_row(ONE, TWO) == (
        "| net | 40.0 (1.25) | 80.0 (2.50) | 90.0 (1.11) | - | slow | 2.00 |"
    )


def test_row_of_bounds() -> None:
    network = Network("net", onnx.ModelProto, reference=Reference("other", 100e-6, 30e-6))
    row = bound_row(Measured(network, (ONE, TWO), 20e-6))
    assert row == "| net | 1.00 | 4 | 20.0 | 40% | 20% fast | 30% other | - | - |"
    row = bound_row(Measured(network, (ONE, TWO), 20e-6, 5e-6))
    assert row.endswith("| 30% other | 5.0 | 10% |")


def test_rows_of_layers_measure_against_their_unit() -> None:
    rows = [layer_row(number, layer, PEAKS) for number, layer in enumerate(ONE.layers)]
    assert rows == [
        "| 0 | conv | vector | i8[1x8x8x4] | 600 | 5.00 | 50.0% | 120.0 | 60% |",
        "| 1 | conv | matrix | i8[1x8x8x4] | 400 | 5.00 | 50.0% | 80.0 | 5% |",
    ]


def test_without_libraries_nothing_is_fastest() -> None:
    alone = Result("net", 1, 50e-6, 1_000_000, 4_000, (GONE,), ())
    assert alone.fastest is None
    assert speed_row(alone, PEAKS) == "| net | 50.0 | - | - | - | 20.0 | - |"


def test_a_network_beside_every_library(digits: Forms) -> None:
    result = measure(digits, PEERS, 1, 2)
    assert [peer.name for peer in result.peers] == [peer.name for peer in PEERS]
    times = {peer.name: peer for peer in result.peers}
    assert times["ONNX Runtime s8"].seconds
    assert times["ONNX Runtime u8"].seconds
    assert times["LiteRT s8"].seconds is None
    assert times["LiteRT s8"].reason
    assert result.seconds > 0
    assert sum(layer.num_macs for layer in result.layers) >= result.num_macs > 0
    model = onnx.load(next(iter(digits.onnx.values())))
    stored = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert result.weights_bytes == sum(len(t.raw_data) for t in stored if len(t.dims) > 1)


def test_a_wrong_result_does_not_count(digits: Forms) -> None:
    result = measure(digits, (_Constant(0.0),), 1, 1)
    (time,) = result.peers
    assert time.seconds is None
    assert "another result" in time.reason


def test_a_network_without_tflite_file(digits: Forms) -> None:
    with pytest.raises(Absent):
        LiteRt().load(digits, 1)


def test_a_library_that_is_not_installed(digits: Forms, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
    for peer in PEERS[2:]:
        with pytest.raises(Absent, match="is not installed"):
            peer.load(digits, 1)
