"""The digits networks with int8 activations and weights of 8 or 4 bits, as QDQ models of opset 21.

ONNX Runtime's quantizer chooses the scales of activations; the weights are then made anew from the
float ones, per output channel and symmetric, with the scale that leaves the least squared error.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from lepton_cc.ir.tensor import Array
from tests.real_models import REPOSITORY, RealModel

NUM_CALIBRATION = 20
_CLIPPED = np.linspace(0.6, 1.0, 17)


def digits() -> tuple[Array, Array]:
    """Images [80, 1, 1, 8, 8] and their classes [80], none of which calibrated anything."""
    samples = np.load(REPOSITORY / "digits_samples.npz")
    return samples["x"][NUM_CALIBRATION:, None], samples["y"][NUM_CALIBRATION:]


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self) -> None:
        images = np.load(REPOSITORY / "digits_samples.npz")["x"][:NUM_CALIBRATION]
        self._left: Iterator[Array] = iter(images[:, None])

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._left, None)
        return None if image is None else {"image": image}


def quantized_digits(model: RealModel, bits: int, folder: Path) -> Path:
    """The path of the model with weights of so many bits."""
    logging.getLogger().setLevel(logging.ERROR)
    folded, quantized = folder / "folded.onnx", folder / "int8.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    quantize_static(
        str(folded),
        str(quantized),
        _Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    path = folder / f"{model.name}_int{bits}.onnx"
    result = onnx.load(quantized)
    if bits == 4:
        floats = onnx.load(folded)
        weights = {t.name: numpy_helper.to_array(t) for t in floats.graph.initializer}
        _Narrowing(result, weights).run()
        opset = helper.make_opsetid("", 21)
        graph = result.graph
        result = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        onnx.checker.check_model(result, full_check=True)
    onnx.save(result, path)
    return path


class _Narrowing:
    """Replaces the 8-bit weights of a QDQ model by 4-bit ones, and its biases."""

    def __init__(self, model: onnx.ModelProto, floats: dict[str, Array]) -> None:
        self._graph, self._floats = model.graph, floats
        self._nodes = {output: node for node in self._graph.node for output in node.output}
        self._content = {t.name: t for t in self._graph.initializer}

    def run(self) -> None:
        for node in list(self._graph.node):
            if node.op_type not in ("Conv", "Gemm", "MatMul"):
                continue
            weights = self._nodes[node.input[1]]
            scales = self._narrow(weights, self._floats[_origin(weights.input[0])])
            if len(node.input) > 2:
                x_scale = self._array(self._nodes[node.input[0]].input[1])
                bias = self._nodes[node.input[2]]
                self._requantize(bias, self._floats[_origin(bias.input[0])], x_scale * scales)

    def _narrow(self, dequantize: onnx.NodeProto, weights: Array) -> Array:
        (axis,) = (a.i for a in dequantize.attribute if a.name == "axis")
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        scales = _best_scales(rows)
        shape = [1] * weights.ndim
        shape[axis] = -1
        integers = np.clip(np.rint(weights / scales.reshape(shape)), -7, 7)
        self._set(dequantize.input[0], integers.astype(ml_dtypes.int4))
        self._set(dequantize.input[1], scales)
        self._set(dequantize.input[2], np.zeros(scales.shape, ml_dtypes.int4))
        return scales

    def _requantize(self, dequantize: onnx.NodeProto, bias: Array, scales: Array) -> None:
        self._set(dequantize.input[0], np.rint(bias / scales).astype(np.int32))
        self._set(dequantize.input[1], scales.astype(np.float32))

    def _array(self, name: str) -> Array:
        return numpy_helper.to_array(self._content[name])

    def _set(self, name: str, array: Array) -> None:
        if array.dtype != ml_dtypes.int4:
            self._content[name].CopyFrom(numpy_helper.from_array(array, name))
            return
        flat = array.reshape(-1).astype(np.int64) & 15
        flat = np.pad(flat, (0, len(flat) % 2)).reshape(-1, 2)
        packed = (flat[:, 0] | flat[:, 1] << 4).astype(np.uint8).tobytes()
        tensor = TensorProto(name=name, data_type=TensorProto.INT4, raw_data=packed)
        tensor.dims.extend(array.shape)
        self._content[name].CopyFrom(tensor)


def _origin(name: str) -> str:
    return name.removesuffix("_quantized")


def _best_scales(rows: Array) -> Array:
    """For each row the scale, of some below max / 7, whose integers are closest to the row."""
    largest = np.maximum(np.abs(rows).max(axis=1), 1e-6) / 7
    candidates = (largest[:, None] * _CLIPPED).astype(np.float32)[..., None]
    errors = rows[:, None] - np.clip(np.rint(rows[:, None] / candidates), -7, 7) * candidates
    best = np.square(errors).sum(axis=-1).argmin(axis=1)
    return np.take_along_axis(candidates[..., 0], best[:, None], axis=1)[:, 0]
