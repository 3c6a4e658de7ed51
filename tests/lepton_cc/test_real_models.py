"""Real models at -O3 against recorded outputs of ONNX Runtime.

An output's error is its largest difference over all recorded inputs, relative to its largest
magnitude over them. `WORST` holds the bound of each model: four times what was measured on an
AVX-512 machine, at least 2e-6, and never above 1e-4. Quantized models must give the same bits.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest

from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.levels import LEVELS, OptLevel

WORST = {
    "ad_autoencoder_fp32": 3e-06,
    "ad_autoencoder_fp32_bn": 3e-06,
    "ic_resnet8_fp32": 2e-06,
    "ic_resnet8_fp32_bn": 2e-06,
    "kws_dscnn_fp32": 2e-06,
    "kws_dscnn_fp32_bn": 2e-06,
    "sww_streaming_fp32": 2e-06,
    "sww_streaming_fp32_bn": 2e-06,
    "vww_mobilenetv1_025_fp32": 2e-06,
    "vww_mobilenetv1_025_fp32_bn": 2e-06,
    "dtln_1": 2e-06,
    "magika_v3_3": 2e-06,
    "mnist_cnn": 2e-06,
    "ppocr_cls": 2e-06,
    "silero_vad_16k": 5e-06,
    "stories260k_prefill64": 5e-06,
    "ultraface_rfb320": 3e-06,
    "yunet_n_320": 8e-06,
    "ad_autoencoder_int8_qdq": 0.0,
    "ic_resnet8_int8_qdq": 0.0,
    "kws_dscnn_int8_qdq": 0.0,
    "sww_streaming_int8_qdq": 0.0,
    "vww_mobilenetv1_025_int8_qdq": 0.0,
}
# Their code is large: LLVM takes more than a few seconds for it.
SLOW = frozenset(
    {
        "ic_resnet8_fp32",
        "ic_resnet8_fp32_bn",
        "ic_resnet8_int8_qdq",
        "vww_mobilenetv1_025_int8_qdq",
        "vww_mobilenetv1_025_fp32",
        "vww_mobilenetv1_025_fp32_bn",
        "magika_v3_3",
        "ppocr_cls",
        "stories260k_prefill64",
        "ultraface_rfb320",
        "yunet_n_320",
    }
)


def recorded_dims(model: onnx.ModelProto, first: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of open dimensions, from the shapes of the first recorded inputs."""
    return {
        dim.dim_param or f"{info.name}.{index}": first[info.name][index]
        for info in model.graph.input
        for index, dim in enumerate(info.type.tensor_type.shape.dim)
        if dim.WhichOneof("value") != "dim_value" and info.name in first
    }


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in WORST],
)
def test_outputs_are_those_recorded(name: str, shared_dir: Path) -> None:
    models = shared_dir / "models"
    found = [*models.glob(f"*/{name}.onnx")]
    if not found:
        pytest.skip(f"no {name}.onnx in ../shared/models")
    recorded = np.load(models / "reference_io" / f"{name}.npz")
    shapes = {key[4:]: recorded[key].shape for key in recorded.files if key.startswith("in0/")}
    dims = recorded_dims(onnx.load(found[0], load_external_data=False), shapes)
    options = CompileOptions(load_target(HOST), OptLevel.O3, dims=dims)
    compilation = compile_model(found[0], options)
    executable = Executable(compilation.program, LEVELS[OptLevel.O3].llvm_level)
    errors: dict[str, float] = {}
    scales: dict[str, float] = {}
    for run in sorted({key.split("/")[0][2:] for key in recorded.files if key[:2] == "in"}):
        inputs = {
            value.name: recorded[f"in{run}/{value.name}"] for value in compilation.imported.inputs
        }
        for output, got in executable.run(inputs).items():
            want = recorded[f"out{run}/{output}"]
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            off = np.abs(got.astype(np.float64) - want).max(initial=0.0)
            errors[output] = max(errors.get(output, 0.0), float(off))
            scales[output] = max(scales.get(output, 0.0), float(np.abs(want).max(initial=0.0)))
    worst = max(errors[output] / (scales[output] or 1.0) for output in errors)
    assert worst <= WORST[name], f"{name}: {worst:.2e}"
