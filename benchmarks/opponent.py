"""ONNX Runtime as it is measured: one thread, buffers bound beforehand, no Python in the figure."""

import time
from collections.abc import Mapping

import onnx
import onnxruntime

from lepton_cc.ir.tensor import Array

_CALLS = 20_000


def python_call_seconds() -> float:
    """Seconds of a Python call into ONNX Runtime that does nothing: the least of some turns."""
    options = onnxruntime.RunOptions()

    def call() -> None:
        options.log_severity_level  # noqa: B018  # a getter in C++ is the cheapest call there is

    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        best = min(best, (time.perf_counter() - start) / _CALLS)
    return best


class Opponent:
    """A session with inputs and outputs bound to buffers, so that no run converts or allocates."""

    def __init__(self, model: onnx.ModelProto, inputs: Mapping[str, Array]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(
                name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
            )
        outputs = self._session.run(None, dict(inputs))
        for port, array in zip(self._session.get_outputs(), outputs, strict=True):
            self._binding.bind_ortvalue_output(
                port.name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
            )

    def seconds(self, num_runs: int) -> float:
        """Seconds of one run, the mean over a loop in Python."""
        run, binding = self._session.run_with_iobinding, self._binding
        start = time.perf_counter()
        for _ in range(num_runs):
            run(binding)
        return (time.perf_counter() - start) / num_runs
