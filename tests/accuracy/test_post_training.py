"""Models quantized here on real data: near the float model, not below ONNX Runtime's quantizer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from lepton_cc.ir.tensor import Array
from tests.accuracy.both import load_data


@dataclass(frozen=True, slots=True)
class Task:
    """A classifier; `onnxruntime` is what its own static quantizer reaches."""

    model: str
    calibration: str
    evaluation: str
    floats: float
    onnxruntime: float
    divisor: float = 1.0


TASKS = (
    Task("ic_resnet8_fp32_bn", "ic_calib", "ic_eval", 0.8812, 0.8792),
    Task("kws_dscnn_fp32_bn", "kws_calib", "kws_eval", 0.919, 0.902),
    Task("kws_dscnn_fp32", "kws_calib", "kws_eval", 0.919, 0.915),
    Task("vww_mobilenetv1_025_fp32", "vww_calib", "vww_eval", 0.8019, 0.800, divisor=255.0),
)
ALLOWED_LOSS = 0.003
OTHERS = (
    "mnist_cnn",
    "yunet_n_320",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("ultraface_rfb320", "ppocr_cls")),
)


def _inputs(name: str, divisor: float, shape: tuple[int, ...]) -> Array:
    pixels: Array = (load_data(name)["x"].astype(np.float32) / np.float32(divisor)).reshape(
        -1, *shape
    )
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize("task", [pytest.param(task, id=task.model) for task in TASKS])
def test_classes_are_those_of_the_float_model(task: Task, shared_dir: Path) -> None:
    path = shared_dir / "models" / "mlperf_tiny" / f"{task.model}.onnx"
    (port,) = lepton_cc.compile(path, opt=0).inputs
    shape = port.type.dims
    model = lepton_cc.compile(
        path,
        target="host",
        quantize="w8a8",
        calibrate={port.name: _inputs(task.calibration, task.divisor, shape)},
        require_integer=True,
    )
    seen = _inputs(task.evaluation, task.divisor, shape)
    outputs = [next(iter(model.run({port.name: x}).values())) for x in seen]
    labels = load_data(task.evaluation)["y"]
    accuracy = float(np.mean(np.concatenate(outputs).argmax(axis=1) == labels))
    assert accuracy >= task.floats - ALLOWED_LOSS - 1e-4
    assert accuracy >= task.onnxruntime


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_integers_throughout(name: str, shared_dir: Path) -> None:
    path = shared_dir / "models" / "other" / f"{name}.onnx"
    floats = lepton_cc.compile(path, target="host")
    (port,) = floats.inputs
    recorded = np.load(shared_dir / "models" / "reference_io" / f"{name}.npz")
    samples = np.stack([recorded[f"in{i}/{port.name}"] for i in range(3)])
    model = lepton_cc.compile(
        path,
        target="host",
        quantize="w8a8",
        calibrate={port.name: samples},
        require_integer=True,
    )
    for x in samples:
        want, got = floats.run({port.name: x}), model.run({port.name: x})
        for output, array in want.items():
            if array.dtype != np.float32:
                continue
            noise = np.sum((got[output].astype(np.float64) - array) ** 2)
            # Probabilities of what is not there are far below a step of 1/256.
            steps = array.size / 256**2
            assert noise <= 0.05 * np.sum(array.astype(np.float64) ** 2) + steps
