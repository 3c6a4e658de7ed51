"""ONNX Runtime on QDQ models: int8 activations, which must be allowed to fuse, and uint8."""

from dataclasses import dataclass

import numpy as np

from benchmarks.peers.peer import Absent, Form, Forms, Loaded
from benchmarks.peers.python_loop import installed_version
from lepton_cc.ir.diagnostics import Refused, ToolchainError
from lepton_cc.ir.tensor import Array
from lepton_cc.measure.opponent import Opponent

_LIBRARY = "onnxruntime"
# Without it, ONNX Runtime computes int8 activations in float on x86-64.
_SETTINGS = {Form.S8: {"session.qdqisint8allowed": "1"}, Form.U8: {}}


@dataclass(frozen=True, slots=True)
class _Session:
    opponent: Opponent

    @property
    def output(self) -> Array:
        return np.asarray(self.opponent.outputs[0])

    def seconds(self, num_runs: int) -> float:
        return self.opponent.seconds(num_runs)


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """One form of the model in a session that is bound to its buffers."""

    form: Form

    @property
    def name(self) -> str:
        return f"ONNX Runtime {self.form.value}"

    @property
    def version(self) -> str:
        return f"ONNX Runtime {installed_version(_LIBRARY)}".strip()

    def load(self, forms: Forms, num_threads: int) -> Loaded:
        settings = _SETTINGS[self.form]
        try:
            return _Session(
                Opponent(
                    forms.onnx[self.form],
                    forms.inputs,
                    num_threads=num_threads,
                    settings=settings,
                )
            )
        except (Refused, ToolchainError) as error:
            raise Absent(str(error)) from error
