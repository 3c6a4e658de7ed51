"""Makes digits.onnx of this example: models/digits_cnn.onnx in int8, its input and output too.

ONNX Runtime quantizes it on the bundled digits; then the quantization of the input and the
dequantization of the output are taken off, so that the whole model runs on the engine.
`python -m examples.firmware_npu.make_model` from the project's top folder.
"""

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
from onnxruntime.quantization.shape_inference import quant_pre_process

_FOLDER = Path(__file__).resolve().parent
_MODELS = _FOLDER.parent.parent / "models"


class _Digits(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """The bundled images, one at a time."""

    def __init__(self) -> None:
        images = np.load(_MODELS / "digits_samples.npz")["x"]
        self._images: Iterator[dict[str, object]] = iter([{"image": i[None]} for i in images])

    def get_next(self) -> dict[str, object] | None:
        return next(self._images, None)


def quantized(source: Path) -> onnx.ModelProto:
    """The model with int8 activations and int8 weights per channel, float outside."""
    with tempfile.TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            _Digits(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(result)


def with_integer_ports(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its first QuantizeLinear and its last DequantizeLinear."""
    graph = model.graph
    port_in, port_out = graph.input[0], graph.output[0]
    first = next(n for n in graph.node if n.input[0] == port_in.name)
    last = next(n for n in graph.node if n.output[0] == port_out.name)
    assert (first.op_type, last.op_type) == ("QuantizeLinear", "DequantizeLinear")
    renamed = {first.output[0]: port_in.name, last.input[0]: port_out.name}
    for node in (first, last):
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for port in (port_in, port_out):
        port.type.tensor_type.elem_type = onnx.TensorProto.INT8
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Writes digits.onnx."""
    model = with_integer_ports(quantized(_MODELS / "digits_cnn.onnx"))
    onnx.save(model, _FOLDER / "digits.onnx")


if __name__ == "__main__":
    main()
