"""The benchmark networks as QDQ models: quantized by ONNX Runtime on random images."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

_NUM_IMAGES = 4


class _RandomImages(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Feeds random images for calibration."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(3)
        images = random.random((_NUM_IMAGES, *shape)).astype(np.float32)
        self._feeds: Iterator[dict[str, object]] = iter([{"image": image} for image in images])

    def get_next(self) -> dict[str, object] | None:
        """The next feed, None at the end."""
        return next(self._feeds, None)


def quantized(
    model: onnx.ModelProto, *, activations: QuantType = QuantType.QInt8
) -> onnx.ModelProto:
    """The model with per-channel int8 weights and 8-bit activations, as QDQ nodes."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = tuple(int(dim.dim_value) for dim in dims)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _RandomImages(shape),
            quant_format=QuantFormat.QDQ,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return onnx.load(target)
