"""Checks a float model that was quantized here: its integers to the byte, its outputs for quality.

The interpreter of the quantized graph says what the integers are. How far they are from the float
model, which ONNX Runtime runs, is a measure of quality and no fault.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.compiler import Compilation
from lepton_cc.frontend.model_source import ModelSource
from lepton_cc.verify.quantized import Arrays, InterpreterCheck, Task, accuracy, interpreter_check
from lepton_cc.verify.reference import Run, onnxruntime_run
from lepton_cc.verify.steps import StepDifference, StepTally, step_difference


@dataclass(frozen=True, slots=True)
class OutputQuality:
    """An output against that of the float model, over all samples.

    `sqnr_decibels`: power of the float output over that of the difference, infinite if there is
    none. `steps` counts the difference in steps of the output, and flips of its largest element.
    """

    name: str
    sqnr_decibels: float
    max_abs: float
    steps: StepDifference


@dataclass(frozen=True, slots=True)
class PostTrainingReport:
    """What verification found; `interpreter` is None if the quantization cannot be repeated."""

    num_samples: int
    interpreter: InterpreterCheck | None
    outputs: tuple[OutputQuality, ...]
    accuracy: float | None
    float_accuracy: float | None


def verify_post_training(
    run: Run,
    model: ModelSource,
    task: Task,
    scales: Mapping[str, float],
    compilation: Compilation | None,
) -> PostTrainingReport:
    """Compares `run` with the float model, and `compilation` with the interpreter if it is there.

    `scales`: the step of each output that has one, by ONNX name.

    Raises:
        ToolchainError: ONNX Runtime is not installed.
        Refused: it does not load the model.
    """
    reference = onnxruntime_run(model)
    got = [dict(run(sample)) for sample in task.samples]
    theirs = [dict(reference(sample)) for sample in task.samples]
    check = None if compilation is None else interpreter_check(compilation, got, task)
    return PostTrainingReport(
        len(task.samples),
        check,
        output_qualities(got, theirs, scales),
        accuracy(got, task.labels),
        accuracy(theirs, task.labels),
    )


def output_qualities(
    got: Sequence[Arrays], reference: Sequence[Arrays], scales: Mapping[str, float]
) -> tuple[OutputQuality, ...]:
    """Each output of `got` against the reference, over all samples."""
    tally = StepTally()
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    largest: dict[str, float] = {}
    for ours, theirs in zip(got, reference, strict=True):
        for name, array in ours.items():
            scale = scales.get(name, 1.0)
            tally.add(step_difference(name, array, theirs[name], scale=scale))
            wide = theirs[name].astype(np.float64)
            difference = np.abs(wide - array.astype(np.float64))
            signal[name] = signal.get(name, 0.0) + float(np.sum(wide * wide))
            noise[name] = noise.get(name, 0.0) + float(np.sum(difference * difference))
            largest[name] = max(largest.get(name, 0.0), float(difference.max(initial=0.0)))
    return tuple(
        OutputQuality(one.name, decibels(signal[one.name], noise[one.name]), largest[one.name], one)
        for one in tally.differences()
    )


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise): infinite without noise, minus infinite without signal."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")
