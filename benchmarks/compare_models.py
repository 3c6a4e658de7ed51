"""Measures how far whole int8 models are from ONNX Runtime's modes: a table of docs/numerics.

    python -m benchmarks.compare_models [--samples N] [--only NAME]

MLPerf Tiny's official models on their evaluation data, which lie beside the checkout. Differences
are counted in steps of the output's scale.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.contest import TINY
from benchmarks.page import row, table_head
from benchmarks.unsigned_form import unsigned_form
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.verify.reference import Mode, Run, onnxruntime_run
from lepton_cc.verify.steps import StepDifference, StepTally, step_difference

_DATA = TINY.parent.parent / "data"
_HEAD = table_head(
    ("model", "ONNX Runtime's mode", "outputs", "equal", "1 step", "2", "more", "largest", "argmax")
)
_AD_FRAMES = 5


@dataclass(frozen=True, slots=True)
class Task:
    """A model, its data, how many samples of them, and what divides pixels."""

    model: str
    data: str
    num_samples: int
    divisor: float = 1.0


TASKS = (
    Task("ic_resnet8", "ic_eval", 400),
    Task("kws_dscnn", "kws_eval", 400),
    Task("vww_mobilenetv1_025", "vww_eval", 200, divisor=255.0),
    Task("sww_streaming", "sww_stream", 282),
    Task("ad_autoencoder", "ad_eval", 200),
)


def samples(task: Task, most: int) -> NDArray[np.float32]:
    """Inputs [N, ...] as the model takes them; the autoencoder's are windows of one file each."""
    with np.load(_DATA / f"{task.data}.npz") as arrays:
        x = arrays["x"][: min(task.num_samples, most)].astype(np.float32)
    if task.model == "ad_autoencoder":
        x = x[:, :_AD_FRAMES].reshape(len(x), -1)
    return np.asarray(x / np.float32(task.divisor), np.float32)


def compare(task: Task, most: int) -> tuple[StepDifference, ...]:
    """Our outputs against those of each mode, over all samples."""
    model = onnx.load(TINY / f"{task.model}_int8_qdq.onnx")
    program = compile_model(model, CompileOptions(load_target("host"), name="model")).program
    ours = Executable(program, LEVELS[OptLevel.O3].llvm_level)
    (name,), scale = [port.name for port in program.outputs], output_scale(model)
    references = list(_references(model))
    tally = StepTally()
    for x in samples(task, most):
        feeds: dict[str, Array] = {program.inputs[0].name: x[None]}
        got = ours.run(feeds)[name]
        for mode, run in references:
            tally.add(step_difference(mode, got, run(feeds)[name], scale=scale))
    return tally.differences()


def _references(model: onnx.ModelProto) -> Iterator[tuple[str, Run]]:
    yield "s8 fused", onnxruntime_run(model, Mode.QDQ_FUSED)
    yield "s8 as it comes", onnxruntime_run(model, Mode.QDQ_DEFAULT)
    yield "s8 unfused", onnxruntime_run(model, Mode.QDQ_UNFUSED)
    yield "u8 as it comes", onnxruntime_run(unsigned_form(model), Mode.QDQ_DEFAULT)


def output_scale(model: onnx.ModelProto) -> float:
    """The step of the first output, which a DequantizeLinear makes."""
    (node,) = (n for n in model.graph.node if n.output[0] == model.graph.output[0].name)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return float(numpy_helper.to_array(stored[node.input[1]]))


def table_row(model: str, one: StepDifference) -> str:
    """A row of the table: how many outputs are how many steps away, and rows of the same argmax."""
    equal, by_one, by_two, *more = one.histogram
    return row(
        (
            *(model, one.name, f"{one.num_elements:,}", f"{equal / one.num_elements:.2%}"),
            *(f"{by_one:,}", f"{by_two:,}", f"{sum(more):,}", str(one.max_steps)),
            f"{one.num_rows - one.argmax_flips} of {one.num_rows}",
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=1000, help="at most so many of each model")
    parser.add_argument("--only", default="", help="models whose name begins like this")
    options = parser.parse_args(arguments)
    print("\n".join(_HEAD))
    for task in TASKS:
        if task.model.startswith(options.only):
            for one in compare(task, options.samples):
                print(table_row(task.model, one), flush=True)


if __name__ == "__main__":
    main()
