"""OpenVINO's CPU plugin on QDQ models: a synchronous request with bound tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from benchmarks.peers.peer import Absent, Form, Forms, Loaded
from benchmarks.peers.python_loop import installed_version, least_seconds, seconds_each
from lepton_cc.ir.tensor import Array

_LIBRARY = "openvino"


@dataclass(frozen=True, slots=True)
class _Request:
    run: Callable[[], object]
    output: Array
    empty_seconds: float

    def seconds(self, num_runs: int) -> float:
        return seconds_each(self.run, num_runs) - self.empty_seconds


@dataclass(frozen=True, slots=True)
class OpenVino:
    """One form of the model; what it computes in float stays binary32."""

    form: Form

    @property
    def name(self) -> str:
        return f"OpenVINO {self.form.value}"

    @property
    def version(self) -> str:
        return f"OpenVINO {installed_version(_LIBRARY)}".strip()

    def load(self, forms: Forms, num_threads: int) -> Loaded:
        try:
            import openvino  # noqa: PLC0415  # an optional library
        except ImportError as error:
            raise Absent(f"{_LIBRARY} is not installed") from error
        try:
            arrays = list(forms.inputs.values())
            run, output = _request(openvino, forms.onnx[self.form], arrays, num_threads)
            # As many threads, since a model with fewer keeps later ones from using more.
            zeros = [np.zeros((1, 16), np.float32)]
            empty_run, _ = _request(openvino, _empty_model(openvino), zeros, num_threads)
        except RuntimeError as error:
            raise Absent(f"refused: {str(error).strip().splitlines()[-1]}") from error
        run()
        return _Request(run, output, least_seconds(empty_run))


def _request(
    openvino: ModuleType, model: object, inputs: list[Array], num_threads: int
) -> tuple[Callable[[], object], Array]:
    """A run of the model on bound tensors, and the array that it fills."""
    settings = {
        # bfloat16 is its default where the CPU has it, and this plugin then refuses some graphs.
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": num_threads,
        "NUM_STREAMS": 1,
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    for number, array in enumerate(inputs):
        request.set_input_tensor(number, openvino.Tensor(np.ascontiguousarray(array)))
    first = np.zeros(list(compiled.outputs[0].shape), np.float32)
    request.set_output_tensor(0, openvino.Tensor(first, shared_memory=True))
    return lambda: request.infer(share_outputs=True), first


def _empty_model(openvino: ModuleType) -> object:
    """An input that is the output."""
    operations = openvino.opset13
    port = operations.parameter([1, 16], np.float32, name="x")
    return openvino.Model([operations.result(port)], [port], "empty")
