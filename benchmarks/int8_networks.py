"""The quantized networks that are measured: MLPerf Tiny's official ones, and two larger ones.

Each is made into the files that the libraries read: both forms as ONNX, and the .tflite if any.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.contest import TINY
from benchmarks.networks import mobilenet_v2, resnet50
from benchmarks.peers.peer import Form, Forms
from benchmarks.quantized_networks import quantized
from benchmarks.unsigned_form import unsigned_form
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class Reference:
    """The fastest library on one core of an AMD Zen 5 (545 GMAC/s), measured on a day of its own.

    `seconds` are those of the same network; `bound_seconds` what that core needs at least.
    """

    library: str
    seconds: float
    bound_seconds: float

    @property
    def share(self) -> float:
        """The part of its bound that it reached, 0 to 1."""
        return self.bound_seconds / self.seconds


@dataclass(frozen=True, slots=True)
class Network:
    """An int8 QDQ model under the name that the tables show.

    `recorded`: real inputs of it (NPZ with `in0/NAME`); without them they are random numbers of
    0 to 1, as in the calibration. `threads`: with how many it is measured.
    """

    name: str
    load: Callable[[], onnx.ModelProto]
    tflite: Path | None = None
    recorded: Path | None = None
    threads: tuple[int, ...] = (1,)
    reference: Reference | None = None


# Network to its .tflite file, and the best of the peers elsewhere.
_TINY = {
    "ic_resnet8": (
        "ic_pretrainedResnet_int8",
        Reference("LiteRT", 36.0e-6, 22.9e-6),
    ),
    "kws_dscnn": ("kws_ref_model_int8", Reference("LiteRT", 20.9e-6, 4.9e-6)),
    "vww_mobilenetv1_025": ("vww_96_int8", Reference("LiteRT", 62.7e-6, 13.7e-6)),
    "ad_autoencoder": ("ad01_int8", Reference("LiteRT", 1.9e-6, 1.3e-6)),
    "sww_streaming": ("str_ww_ref_model_int8", Reference("LiteRT", 5.4e-6, 1.5e-6)),
}


def networks() -> Iterator[Network]:
    """MLPerf Tiny's models if they are beside the checkout, MobileNetV2, ResNet-50."""
    for name, (tflite, reference) in _TINY.items():
        path = TINY / f"{name}_int8_qdq.onnx"
        if path.is_file():
            yield Network(
                name,
                lambda path=path: onnx.load(path),  # type: ignore[misc]
                TINY / f"{tflite}.tflite",
                TINY.parent / "reference_io" / f"{path.stem}.npz",
                reference=reference,
            )
    yield Network(
        "mobilenet_v2 (224, random weights)",
        lambda: quantized(mobilenet_v2()),
        threads=(1, 2),
        reference=Reference("OpenVINO", 1311e-6, 551e-6),
    )
    yield Network(
        "resnet50 (224, random weights)",
        lambda: quantized(resnet50()),
        threads=(1, 2),
        reference=Reference("OpenVINO", 9500e-6, 7496e-6),
    )


def write_forms(network: Network, folder: Path) -> Forms:
    """Makes the network's files in a folder."""
    model = network.load()
    files = {form: folder / f"model_{form.value}.onnx" for form in Form}
    onnx.save(model, files[Form.S8])
    onnx.save(unsigned_form(model), files[Form.U8])
    return Forms(network.name, files, _inputs(model, network.recorded), network.tflite)


def _inputs(model: onnx.ModelProto, recorded: Path | None) -> dict[str, Array]:
    constants = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in constants]
    if recorded is not None and recorded.is_file():
        with np.load(recorded) as arrays:
            return {port.name: arrays[f"in0/{port.name}"] for port in ports}
    random = np.random.default_rng(5)
    return {
        port.name: random.random(
            [dim.dim_value for dim in port.type.tensor_type.shape.dim], np.float32
        )
        for port in ports
    }
