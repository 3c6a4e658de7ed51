"""Accuracy of quantized models: float, ours, ONNX Runtime's static quantizer, on the same data.

    python -m benchmarks.measure_quantization [--model NAME] [--method METHOD]

Reads ../shared (MLPerf Tiny models with their calibration and evaluation data) and prints the table
of docs/quantization.md. ONNX Runtime quantizes with QDQ, int8, per channel, min-max.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import lepton_cc

SHARED = Path(__file__).resolve().parents[2] / "shared"
FRAMES = 5
Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class Task:
    """A model with its data; `divisor` makes floats of pixels."""

    name: str
    calibration: str
    evaluation: str
    divisor: float = 1.0

    @property
    def path(self) -> Path:
        """The model."""
        return SHARED / "models" / "mlperf_tiny" / f"{self.name}.onnx"

    @property
    def is_detector(self) -> bool:
        """True if it rebuilds windows of a recording, and is measured by the area under ROC."""
        return self.evaluation.startswith("ad")

    def samples(self) -> tuple[Array, Array, Array]:
        """Calibration inputs, evaluation inputs, labels."""
        known, seen = (
            np.load(SHARED / "data" / f"{name}.npz") for name in (self.calibration, self.evaluation)
        )
        inputs = known["x"].astype(np.float32) / np.float32(self.divisor)
        if self.is_detector:
            return inputs, np.concatenate([_windows(one) for one in seen["x"]]), seen["y"]
        return inputs, seen["x"].astype(np.float32) / np.float32(self.divisor), seen["y"]

    def score(self, inputs: Array, outputs: Array, labels: Array) -> float:
        """Per cent of right classes, or 100 times the area under the ROC curve."""
        if not self.is_detector:
            return 100 * float(np.mean(outputs.argmax(axis=1) == labels))
        errors = np.mean((inputs.astype(np.float64) - outputs) ** 2, axis=1)
        scores = errors.reshape(len(labels), -1).mean(axis=1)
        above = scores[labels == 1][:, None] - scores[labels == 0]
        return 100 * float(np.mean((above > 0) + 0.5 * (above == 0)))


_DATA = {
    "ic_resnet8": ("ic_calib", "ic_eval", 1.0),
    "kws_dscnn": ("kws_calib", "kws_eval", 1.0),
    "vww_mobilenetv1_025": ("vww_calib", "vww_eval", 255.0),
    "ad_autoencoder": ("ad_calib", "ad_eval", 1.0),
    "sww_streaming": ("sww_calib", "sww_calib", 1.0),
}
TASKS = tuple(
    Task(f"{name}_{form}", *data) for name, data in _DATA.items() for form in ("fp32", "fp32_bn")
)


def _windows(spectrogram: Array) -> Array:
    frames = spectrogram.astype(np.float32)
    count = len(frames) - FRAMES + 1
    return np.stack([frames[i : i + FRAMES].reshape(-1) for i in range(count)])


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, name: str, inputs: Array) -> None:
        self._feeds: Iterator[dict[str, Array]] = iter([{name: x} for x in inputs])

    def get_next(self) -> dict[str, Array] | None:
        """The next sample."""
        return next(self._feeds, None)


def _static_quantized(task: Task, name: str, inputs: Array) -> bytes:
    logging.getLogger().setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        target = Path(folder) / "quantized.onnx"
        quantize_static(
            str(task.path),
            str(target),
            _Reader(name, inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return target.read_bytes()


def _onnxruntime(model: bytes) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))


def _outputs(run: Run, name: str, inputs: Array) -> Array:
    return np.concatenate([next(iter(run({name: x}).values())) for x in inputs])


def _decibels(reference: Array, got: Array) -> float:
    signal, noise = reference.astype(np.float64), reference.astype(np.float64) - got
    return 10 * float(np.log10(np.sum(signal**2) / np.sum(noise**2)))


def measure(task: Task, method: str | None) -> None:
    """Prints a row for each form of the model."""
    model = lepton_cc.compile(task.path, target="host")
    (port,) = model.inputs
    known, seen, labels = task.samples()
    known, seen = (x.reshape(-1, *port.type.dims) for x in (known, seen))
    floats = _outputs(model.run, port.name, seen)

    def row(form: str, outputs: Array, seconds: float, microseconds: float) -> None:
        score = task.score(seen.reshape(len(seen), -1), outputs, labels)
        quality = "-" if outputs is floats else f"{_decibels(floats, outputs):.1f}"
        print(
            f"| {task.name} | {form} | {score:.2f} | {quality} | {seconds:.1f} |"
            f" {microseconds:.0f} |",
            flush=True,
        )

    row("float", floats, 0.0, model.bench(200) * 1e6)
    for scheme in ("w8a8", "w4a8"):
        start = time.perf_counter()
        quantized = lepton_cc.compile(
            task.path,
            target="host",
            quantize=scheme,
            calibrate={port.name: known},
            calibration_method=method,
            require_integer=True,
        )
        seconds = time.perf_counter() - start
        outputs = _outputs(quantized.run, port.name, seen)
        row(scheme, outputs, seconds, quantized.bench(200) * 1e6)
    start = time.perf_counter()
    content = _static_quantized(task, port.name, known)
    seconds = time.perf_counter() - start
    run = _onnxruntime(content)
    outputs = _outputs(run, port.name, seen)
    best = min(_timed(run, {port.name: seen[0]}) for _ in range(200))
    row("ONNX Runtime", outputs, seconds, best * 1e6)


def _timed(run: Run, feed: Mapping[str, Array]) -> float:
    start = time.perf_counter()
    run(feed)
    return time.perf_counter() - start


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", help="part of a model's name")
    parser.add_argument("--method", help="of calibration")
    arguments = parser.parse_args()
    print("| model | form | accuracy or AUC, % | SQNR, dB | s to make | us a run |")
    print("|---|---|---|---|---|---|")
    for task in TASKS:
        if arguments.model is None or arguments.model in task.name:
            measure(task, arguments.method)


if __name__ == "__main__":
    main()
