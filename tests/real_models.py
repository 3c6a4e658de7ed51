"""The trained models that tests run: those of this repository, and those of ../shared if present.

Each comes with recorded inputs, and with ONNX Runtime's outputs for them.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lepton_cc.ir.tensor import Array

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = ROOT / "models"
SHARED = ROOT.parent / "shared"
NUM_SAMPLES = 3

Arrays = Mapping[str, Array]


class Kind(enum.Enum):
    """Where a model comes from and what it is."""

    REPOSITORY = "trained here"
    TINY = "MLPerf Tiny, float"
    TINY_BATCH_NORM = "MLPerf Tiny, batch norm as nodes of its own"
    TINY_INT8 = "MLPerf Tiny, quantized"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Sample:
    """Inputs by name, and the outputs that ONNX Runtime gives for them."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class RealModel:
    """A model file; `output_step` is the quantization step of an int8 model's output."""

    name: str
    kind: Kind
    output_step: float = 0.0

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """The file, which may be absent: see `require`."""
        folders = {Kind.REPOSITORY: REPOSITORY, Kind.OTHER: SHARED / "models" / "other"}
        return folders.get(self.kind, SHARED / "models" / "mlperf_tiny") / f"{self.name}.onnx"

    def require(self) -> Path:
        """The file; skips the test where it is absent."""
        if not self.path.is_file():
            pytest.skip(f"{self.name}.onnx is not there: no ../shared/models beside the checkout")
        return self.path

    def samples(self) -> tuple[Sample, ...]:
        """Real inputs with the outputs of ONNX Runtime."""
        return _samples(self)

    def output_scale(self, output: str) -> float:
        """The largest magnitude of an output over all samples: what errors are measured in."""
        return max(float(np.abs(sample.outputs[output]).max()) for sample in self.samples())


@cache
def _samples(model: RealModel) -> tuple[Sample, ...]:
    if model.kind is Kind.REPOSITORY:
        images = np.load(REPOSITORY / "digits_samples.npz")["x"]
        session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        feeds = [{"image": images[number : number + 1]} for number in range(NUM_SAMPLES)]
        return tuple(
            Sample(feed, dict(zip(names, session.run(names, feed), strict=True))) for feed in feeds
        )
    recorded = np.load(SHARED / "models" / "reference_io" / f"{model.name}.npz")
    return tuple(
        Sample(_with_prefix(recorded, f"in{number}/"), _with_prefix(recorded, f"out{number}/"))
        for number in range(NUM_SAMPLES)
    )


def _with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


DIGITS = tuple(
    RealModel(f"digits_{network}", Kind.REPOSITORY) for network in ("cnn", "dscnn", "gru", "lstm")
)
_TINY_NAMES = (
    "ic_resnet8",
    "kws_dscnn",
    "vww_mobilenetv1_025",
    "ad_autoencoder",
    "sww_streaming",
)
TINY = tuple(RealModel(f"{name}_fp32", Kind.TINY) for name in _TINY_NAMES)
TINY_BATCH_NORM = tuple(RealModel(f"{name}_fp32_bn", Kind.TINY_BATCH_NORM) for name in _TINY_NAMES)
TINY_INT8 = tuple(
    RealModel(f"{name}_int8_qdq", Kind.TINY_INT8, 0.3645 if name == "ad_autoencoder" else 1 / 256)
    for name in _TINY_NAMES
)
LARGE_INT8 = tuple(model for model in TINY_INT8 if model.name.startswith(("ic_", "vww_")))
OTHER = tuple(
    RealModel(name, Kind.OTHER)
    for name in (
        "mnist_cnn",
        "dtln_1",
        "silero_vad_16k",
        "ppocr_cls",
        "stories260k_prefill64",
        "ultraface_rfb320",
        "yunet_n_320",
        "magika_v3_3",
    )
)
ALL = (*DIGITS, *TINY, *TINY_BATCH_NORM, *TINY_INT8, *OTHER)
