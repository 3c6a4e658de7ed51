"""Accuracy of `lepton compress` at 4 bits: to nearest, by column solve, by learned rounding.

    python -m benchmarks.measure_compression [--model NAME] [--method NAME,...] [--scheme NAME]

Reads ../shared as `measure_quantization` does and prints the table of docs/quantization.md; every
figure is of the ONNX file that `compress` makes, compiled by lepton-cc. `--memory` prints instead
what calibrating on all of ic_train_subset adds to the process, in MiB.
"""

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

import lepton_cc
from benchmarks.measure_quantization import SHARED, TASKS, Task, _decibels, _outputs
from lepton_cc.calibration.quantize import QuantizationOptions
from lepton_cc.compression.compress import compress
from lepton_cc.compression.quantize_stage import QuantizeStage
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.weight_rounding import WeightScheme


def measure(task: Task, scheme: WeightScheme, methods: list[Rounding]) -> None:
    """Prints a row for the float model and one for each method."""
    model = lepton_cc.compile(task.path, target="host")
    (port,) = model.inputs
    known, seen, labels = task.samples()
    known, seen = (x.reshape(-1, *port.type.dims) for x in (known, seen))
    flat = seen.reshape(len(seen), -1)
    floats = _outputs(model.run, port.name, seen)
    print(f"| {task.name} | float | {task.score(flat, floats, labels):.2f} | - | - |", flush=True)
    for method in methods:
        start = time.perf_counter()
        stage = QuantizeStage(QuantizationOptions(scheme, rounding=method))
        done = compress(task.path, {port.name: known}, (stage,))
        seconds = time.perf_counter() - start
        assert done.model is not None
        compiled = lepton_cc.compile(
            onnx.load_from_string(done.model), target="host", require_integer=True
        )
        outputs = _outputs(compiled.run, port.name, seen)
        score = task.score(flat, outputs, labels)
        print(
            f"| {task.name} | {scheme.value} {method.value} | {score:.2f} |"
            f" {_decibels(floats, outputs):.1f} | {seconds:.0f} |",
            flush=True,
        )


def measure_memory(method: Rounding) -> None:
    """Prints the memory of the process before, and its peak while it compresses a model.

    The model was compressed with one sample before, so that code and libraries are loaded.
    """
    (task,) = (one for one in TASKS if one.name == "ic_resnet8_fp32")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        pixels = np.load(SHARED / "data" / "ic_train_subset.npz")["x"]
        np.savez(path, input=pixels.astype(np.float32))
        del pixels
        stage = QuantizeStage(QuantizationOptions(WeightScheme.W4A8, rounding=method))
        compress(task.path, {"input": _one_sample(path)}, (stage,))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        before = pages * resource.getpagesize() / 2**20
        start = time.perf_counter()
        compress(task.path, path, (stage,))
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{method.value}: {before:.0f} MiB before, {peak:.0f} at most, {seconds:.0f} s")


def _one_sample(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with np.load(path) as arrays:
        return np.array(arrays["input"][:1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="", help="part of a model's name")
    parser.add_argument("--method", default="plain,gptq,adaround")
    parser.add_argument("--scheme", default="w4a8")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    methods = [Rounding(name) for name in arguments.method.split(",")]
    if arguments.memory:
        measure_memory(methods[-1])
        return
    print("| model | form | accuracy or AUC, % | SQNR, dB | s to make |")
    print("|---|---|---|---|---|")
    for task in TASKS:
        if arguments.model in task.name:
            measure(task, WeightScheme(arguments.scheme), methods)


if __name__ == "__main__":
    main()
