"""How often `lepton blame` names the layer that a fault was planted in, and its advice mends it.

    python -m benchmarks.measure_blame [--model NAME] [--seeds N]

Reads ../shared as `measure_quantization` does and prints the table of docs/quantization.md. The
faults are those of the tests: the scale of a result or of weights 8 times too large, a third of a
result's RMS added to half of the biases, a channel 64 times the others; each in a layer that the
seed chooses. The advice is applied by `lepton compress`, as printed, and mends if ONNX Runtime then
comes within 3 dB of the quantized model without the fault, on samples that blame has not seen.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from click.testing import CliRunner

from benchmarks.measure_quantization import TASKS, Array, Task
from lepton_cc.attribution.blame import Blame, blame
from lepton_cc.calibration.method import Method
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.cli.main import lepton
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from tests.lepton_cc.attribution.planted import (
    Planted,
    large_result_scale,
    large_weight_scale,
    outlier_channel,
    shifted_bias,
)

# Enough for ranges; the faults are far larger than what more samples would change.
_NUM_CALIBRATED, _NUM_COMPARED, _NUM_JUDGED = 64, 16, 64
_NEAR_DECIBELS = 3.0


@dataclass(frozen=True, slots=True)
class _Case:
    """SQNR of the outputs in dB: quantized without the fault, with it, and as advised."""

    is_found: bool
    without: float
    planted: float
    advised: float

    @property
    def is_felt(self) -> bool:
        return self.planted < self.without - _NEAR_DECIBELS

    @property
    def is_mended(self) -> bool:
        return self.advised >= self.without - _NEAR_DECIBELS


class _Faults:
    """One model and its data; each method plants a fault and looks what is said of it."""

    def __init__(self, task: Task, folder: Path) -> None:
        graph = import_model(task.path)
        (value,) = graph.inputs
        known, seen, _ = task.samples()
        self._data: dict[str, Array] = {value.name: _rows(known, _NUM_CALIBRATED, value.type.dims)}
        # Between those to calibrate with, where they are the same data and enough.
        self._judged = _rows(seen[1:], _NUM_JUDGED, value.type.dims)
        self._sample: dict[str, Array] = {value.name: self._data[value.name][0]}
        self._task, self._folder, self._name = task, folder, value.name
        np.savez(folder / "data.npz", allow_pickle=False, **self._data)
        self._quantized, self._without = self._reference(task.path, Method.MSE)
        _, self._without_by_extremes = self._reference(task.path, Method.MIN_MAX)

    def kinds(self) -> dict[str, Callable[[int], _Case]]:
        """What can be planted in the model."""
        kinds = {
            "result's scale x 8": lambda seed: self._planted(large_result_scale, seed),
            "weights' scale x 8": lambda seed: self._planted(large_weight_scale, seed),
            "bias shifted": lambda seed: self._planted(self._biased, seed),
        }
        # A norm right behind a convolution can make a channel larger.
        nodes = onnx.load(self._task.path).graph.node
        sources = {node.output[0] for node in nodes if node.op_type == "Conv"}
        norms = [node for node in nodes if node.op_type == "BatchNormalization"]
        has_norms = any(node.input[0] in sources for node in norms)
        return {**kinds, "outlier channel": self._outlier} if has_norms else kinds

    def _reference(self, path: Path, method: Method) -> tuple[Graph, float]:
        found = quantize(import_model(path), QuantizationOptions(source=self._data, method=method))
        assert found is not None
        target = self._folder / "reference.onnx"
        onnx.save(onnx_model(found.graph), target)
        return found.graph, self._decibels(path, target)

    def _biased(self, graph: Graph, choice: int) -> Planted:
        return shifted_bias(graph, choice, self._sample)

    def _planted(self, plant: Callable[[Graph, int], Planted], seed: int) -> _Case:
        planted = plant(self._quantized, _choice(seed))
        path = self._folder / "planted.onnx"
        onnx.save(onnx_model(planted.graph), path)
        found = blame(self._task.path, against=path, calibrate=self._data, samples=_NUM_COMPARED)
        before = self._decibels(self._task.path, path)
        after = self._advised(found, self._task.path, before)
        is_found = found.layers[0].name.startswith(f"{planted.culprit}/")
        return _Case(is_found, self._without, before, after)

    def _outlier(self, seed: int) -> _Case:
        model, culprit = outlier_channel(self._task.path, _choice(seed), seed)
        path = self._folder / "outlier.onnx"
        onnx.save(model, path)
        found = blame(
            path,
            quantize="w8a8",
            calibrate=self._data,
            calibration_method="minmax",
            samples=_NUM_COMPARED,
        )
        _, before = self._reference(path, Method.MIN_MAX)
        after = self._advised(found, path, before)
        is_found = culprit in found.layers[0].nodes
        return _Case(is_found, self._without_by_extremes, before, after)

    def _advised(self, found: Blame, path: Path, before: float) -> float:
        """What the command makes of it; as it was, where nothing is advised."""
        if found.advised is None:
            return before
        out = self._folder / "advised"
        words = ["compress", path, "--data", self._folder / "data.npz", "-o", out, "--name", "m"]
        done = CliRunner().invoke(lepton, [*map(str, words), *found.advised.cure.arguments])
        assert done.exit_code == 0, done.output
        return self._decibels(path, out / "m.onnx")

    def _decibels(self, original: Path, quantized: Path) -> float:
        reference, ours = (self._outputs(path) for path in (original, quantized))
        noise = np.sum((ours - reference) ** 2)
        return 10 * float(np.log10(np.sum(reference**2) / noise))

    def _outputs(self, path: Path) -> Array:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs = [session.run(None, {self._name: x})[0] for x in self._judged]
        return np.stack(outputs).astype(np.float64)


def _rows(array: Array, limit: int, shape: Sequence[int]) -> Array:
    return array[:: max(1, len(array) // limit)][:limit].reshape(-1, *shape)


def _choice(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(100))


def _row(cases: Sequence[_Case], seconds: float) -> str:
    medians = [
        statistics.median(values)
        for values in zip(*((c.without, c.planted, c.advised) for c in cases), strict=True)
    ]
    found, mended = sum(c.is_found for c in cases), sum(c.is_mended for c in cases)
    felt = sum(c.is_felt for c in cases)
    sizes = ", ".join(f"{value:.1f}" for value in medians)
    count = len(cases)
    return f"{found} of {count} | {felt} | {mended} of {count} | {sizes} | {seconds / count:.1f} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="_bn", help="part of a model's name")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    headings = "model | fault | found | cost 3 dB | mended | dB: without, with, as advised"
    print(f"| {headings} | CPU s a case |")
    print("|---|---|---|---|---|---|---|")
    for task in TASKS:
        if arguments.model not in task.name:
            continue
        with TemporaryDirectory() as folder:
            for fault, plant in _Faults(task, Path(folder)).kinds().items():
                start = time.process_time()
                cases = [plant(seed) for seed in range(arguments.seeds)]
                row = _row(cases, time.process_time() - start)
                print(f"| {task.name} | {fault} | {row}", flush=True)


if __name__ == "__main__":
    main()
