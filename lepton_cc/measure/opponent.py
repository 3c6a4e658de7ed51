"""ONNX Runtime as it is measured: buffers bound beforehand, Python's share taken off."""

import time
from collections.abc import Mapping

from lepton_cc.frontend.model_source import ModelSource, loadable
from lepton_cc.ir.diagnostics import Code, ToolchainError, refuse
from lepton_cc.ir.tensor import Array

_CALLS = 20_000


class Opponent:
    """A session with inputs and outputs bound to buffers, so that no run converts or allocates.

    As ONNX Runtime comes, but for the number of threads and the `settings` of a session that are
    given by key. `outputs` are those of the inputs, in the model's order.
    """

    def __init__(
        self,
        model: ModelSource,
        inputs: Mapping[str, Array],
        *,
        num_threads: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Loads the model.

        Raises:
            ToolchainError: ONNX Runtime is not installed.
            Refused: it does not load or run the model.
        """
        try:
            import onnxruntime  # noqa: PLC0415  # an optional library
        except ImportError as error:
            raise ToolchainError(
                f"onnxruntime is not installed: {error}", "pip install onnxruntime"
            ) from error
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        for key, value in (settings or {}).items():
            options.add_session_config_entry(key, value)
        try:
            self._session = onnxruntime.InferenceSession(
                loadable(model), options, providers=["CPUExecutionProvider"]
            )
            outputs = self._session.run(None, dict(inputs))
        except Exception as error:  # its exceptions share no base of their own
            raise refuse(Code.TOOL_FAILED, f"ONNX Runtime: {error}") from error
        self.outputs: tuple[Array, ...] = tuple(outputs)
        self._binding = self._session.io_binding()
        for name, array in inputs.items():
            bound = onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
            self._binding.bind_ortvalue_input(name, bound)
        for port, array in zip(self._session.get_outputs(), outputs, strict=True):
            bound = onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
            self._binding.bind_ortvalue_output(port.name, bound)
        self._call_seconds = _python_call_seconds(onnxruntime.RunOptions())

    def seconds(self, num_runs: int) -> float:
        """Seconds of one run, the mean over a loop in Python, without an empty call's time."""
        run, binding = self._session.run_with_iobinding, self._binding
        start = time.perf_counter()
        for _ in range(num_runs):
            run(binding)
        return (time.perf_counter() - start) / num_runs - self._call_seconds


def _python_call_seconds(options: object) -> float:
    """Seconds of a Python call into ONNX Runtime that does nothing: the least of some turns."""

    def call() -> None:
        # A getter in C++ is the cheapest call there is.
        _ = options.log_severity_level  # type: ignore[attr-defined]  # it ships no types

    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        best = min(best, (time.perf_counter() - start) / _CALLS)
    return best
