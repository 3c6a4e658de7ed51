"""One model in ONNX Runtime and as generated code, run on the same arrays of real data."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from tests.real_models import SHARED, RealModel

FloatArray = NDArray[np.float32]


def load_data(name: str) -> dict[str, Array]:
    """The arrays of a file of ../shared/data; skips where it is absent."""
    path = SHARED / "data" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{name}.npz is not there: no ../shared/data beside the checkout")
    with np.load(path) as arrays:
        return dict(arrays)


class Both:
    """The two implementations of a model with one input and one output that matters."""

    def __init__(self, model: RealModel) -> None:
        self._path: Path = model.require()

    @cached_property
    def _executable(self) -> Executable:
        program = compile_model(self._path, CompileOptions(load_target("host"))).program
        return Executable(program, LEVELS[OptLevel.O3].llvm_level)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])

    def outputs(self, batches: Iterator[Array]) -> tuple[FloatArray, FloatArray]:
        """First output for each input: of generated code, and of ONNX Runtime."""
        (input_name,) = (port.name for port in self._session.get_inputs())
        output_name = self._session.get_outputs()[0].name
        ours, theirs = [], []
        for x in batches:
            feed = {input_name: x}
            ours.append(self._executable.run(feed)[output_name])
            theirs.append(self._session.run([output_name], feed)[0])
        return np.concatenate(ours), np.concatenate(theirs)


def one_by_one(x: Array) -> Iterator[Array]:
    """Rows of a data set as batches of one, as float32 unless they are integers already."""
    for number in range(len(x)):
        yield np.ascontiguousarray(x[number : number + 1])
