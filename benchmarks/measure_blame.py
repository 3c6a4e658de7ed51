"""How often `lepton blame` names the layer that a fault was planted in, on real models.

    python -m benchmarks.measure_blame [--model NAME] [--seeds N]

Reads ../shared as `measure_quantization` does and prints the table of docs/quantization.md. The
faults are those of the tests: the scale of a result or of weights 8 times too large, a third of a
result's RMS added to half of the biases, a channel 64 times the others; each in a layer that the
seed chooses.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from benchmarks.measure_quantization import TASKS, Array, Task
from lepton_cc.attribution.blame import LayerBlame, blame
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from tests.lepton_cc.attribution.planted import (
    Planted,
    large_result_scale,
    large_weight_scale,
    outlier_channel,
    shifted_bias,
)

# Enough for ranges; the faults are far larger than what more samples would change.
_NUM_CALIBRATED, _NUM_COMPARED = 64, 8


class _Faults:
    """One model and its data; each method plants a fault, True if it is what is blamed first."""

    def __init__(self, task: Task, folder: Path) -> None:
        graph = import_model(task.path)
        (value,) = graph.inputs
        known = task.samples()[0]
        known = known[:: max(1, len(known) // _NUM_CALIBRATED)][:_NUM_CALIBRATED]
        self._task, self._folder = task, folder
        self._data: dict[str, Array] = {value.name: known.reshape(-1, *value.type.dims)}
        self._sample: dict[str, Array] = {value.name: self._data[value.name][0]}
        found = quantize(graph, QuantizationOptions(WeightScheme.W8A8, self._data))
        assert found is not None
        self._quantized = found.graph

    def kinds(self) -> dict[str, Callable[[int], bool]]:
        """What can be planted in the model."""
        kinds = {
            "result scale x 8": lambda seed: self._planted(large_result_scale, seed),
            "weight scale x 8": lambda seed: self._planted(large_weight_scale, seed),
            "bias shifted": lambda seed: self._planted(self._biased, seed),
        }
        # A norm right behind a convolution can make a channel larger.
        nodes = onnx.load(self._task.path).graph.node
        sources = {node.output[0] for node in nodes if node.op_type == "Conv"}
        norms = [node for node in nodes if node.op_type == "BatchNormalization"]
        has_norms = any(node.input[0] in sources for node in norms)
        return {**kinds, "outlier channel": self._outlier} if has_norms else kinds

    def _biased(self, graph: Graph, choice: int) -> Planted:
        return shifted_bias(graph, choice, self._sample)

    def _planted(self, plant: Callable[[Graph, int], Planted], seed: int) -> bool:
        planted = plant(self._quantized, _choice(seed))
        path = self._folder / "planted.onnx"
        onnx.save(onnx_model(planted.graph), path)
        worst = blame(
            self._task.path, against=path, calibrate=self._data, samples=_NUM_COMPARED
        ).layers[0]
        return worst.name.startswith(f"{planted.culprit}/")

    def _outlier(self, seed: int) -> bool:
        model, culprit = outlier_channel(self._task.path, _choice(seed), seed)
        path = self._folder / "outlier.onnx"
        onnx.save(model, path)
        worst: LayerBlame = blame(
            path,
            quantize="w8a8",
            calibrate=self._data,
            calibration_method="minmax",
            samples=_NUM_COMPARED,
        ).layers[0]
        return culprit in worst.nodes


def _choice(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(100))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="_bn", help="part of a model's name")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    print("| model | fault | found | CPU s a case |")
    print("|---|---|---|---|")
    for task in TASKS:
        if arguments.model not in task.name:
            continue
        with TemporaryDirectory() as folder:
            for fault, plant in _Faults(task, Path(folder)).kinds().items():
                start = time.process_time()
                hits = [plant(seed) for seed in range(arguments.seeds)]
                seconds = (time.process_time() - start) / len(hits)
                row = f"| {task.name} | {fault} | {sum(hits)} of {len(hits)} | {seconds:.1f} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
