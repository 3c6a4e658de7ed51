"""LiteRT, with XNNPACK as it comes, on the .tflite files that the int8 models were made from."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.peers.peer import Absent, Forms, Loaded
from benchmarks.peers.python_loop import installed_version, least_seconds, seconds_each
from lepton_cc.ir.tensor import Array

_LIBRARY = "ai-edge-litert"
_FILE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True, slots=True)
class _Interpreter:
    interpreter: Any  # it ships no types
    output: Array
    empty_seconds: float

    def seconds(self, num_runs: int) -> float:
        return seconds_each(self.interpreter.invoke, num_runs) - self.empty_seconds


@dataclass(frozen=True, slots=True)
class LiteRt:
    """The int8 file: int8 in, int8 out, so that no run quantizes or dequantizes."""

    name: str = "LiteRT s8"

    @property
    def version(self) -> str:
        return f"LiteRT {installed_version(_LIBRARY)}".strip()

    def load(self, forms: Forms, num_threads: int) -> Loaded:
        try:
            from ai_edge_litert import (  # noqa: PLC0415  # an optional library
                interpreter,
                schema_py_generated,
            )
        except ImportError as error:
            raise Absent(f"{_LIBRARY} is not installed") from error
        if forms.tflite is None:
            raise Absent("there is no .tflite file of this network")
        empty = interpreter.Interpreter(model_content=_empty_file(schema_py_generated))
        empty.allocate_tensors()
        loaded = interpreter.Interpreter(model_path=str(forms.tflite), num_threads=num_threads)
        loaded.allocate_tensors()
        (port,), (result,) = loaded.get_input_details(), loaded.get_output_details()
        (array,) = forms.inputs.values()
        loaded.set_tensor(port["index"], _quantized(array, port))
        loaded.invoke()
        scale, zero_point = result["quantization"]
        output = (loaded.get_tensor(result["index"]).astype(np.float32) - zero_point) * scale
        return _Interpreter(loaded, output, least_seconds(empty.invoke))


def _quantized(array: Array, port: dict[str, Any]) -> Array:
    """The float input as the file takes it: channels last, int8."""
    if array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)
    scale, zero_point = port["quantization"]
    steps: Array = np.rint(array.astype(np.float32) / np.float32(scale)) + zero_point
    return np.clip(steps, -128, 127).astype(np.int8).reshape(tuple(port["shape"]))


def _empty_file(schema: ModuleType) -> bytes:
    """A model whose input is its output."""
    import flatbuffers  # noqa: PLC0415  # comes with the library

    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = [1, 16], schema.TensorType.INT8, 0, "x"
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], []
    model.buffers, model.description = [schema.BufferT()], "empty"
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output())
