"""Checks a compiled quantized model: against the interpreter to the byte, ONNX Runtime in steps.

The interpreter says what the integers are, so that nothing may differ from it. ONNX Runtime gives
other integers in each of its modes; the distance to each is reported, layer by layer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.program import Call
from lepton_cc.compiler import Compilation
from lepton_cc.frontend.model_source import ModelSource
from lepton_cc.frontend.quantized_form import QuantizedForm, quantized_form, with_outputs
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.output_scales import output_scales
from lepton_cc.verify.difference import Difference, difference, merged
from lepton_cc.verify.layers import LayerRunner
from lepton_cc.verify.quantized_graph import (
    Holder,
    exact_values,
    holders_of_tensors,
)
from lepton_cc.verify.reference import Mode, Run, modes_of, onnxruntime_run
from lepton_cc.verify.steps import StepDifference, StepTally, first_diverging, step_difference

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class InterpreterCheck:
    """The compiled model against the interpreter, on the first samples.

    `outputs` and `layers` hold integers, and the floats that are dequantized from them. What a
    float op computes may differ, and what depends on it: names that are not in `exact`.
    """

    outputs: tuple[StepDifference, ...]
    layers: tuple[StepDifference, ...]
    float_layers: tuple[Difference, ...]
    exact: frozenset[str]

    def diverging(self) -> tuple[StepDifference, ...]:
        """All that had to be equal and is not, layers before outputs."""
        found = (*self.layers, *self.outputs)
        return tuple(one for one in found if one.name in self.exact and one.num_different)


@dataclass(frozen=True, slots=True)
class RuntimeCheck:
    """The compiled model against one mode of ONNX Runtime.

    `outputs` in steps, `float_outputs` those that have none; `layers` are the integer tensors of
    the ONNX model, none if ONNX Runtime computes other outputs when it has to show them.
    `accuracy` is ONNX Runtime's own.
    """

    mode: Mode
    outputs: tuple[StepDifference, ...]
    float_outputs: tuple[Difference, ...]
    layers: tuple[StepDifference, ...]
    accuracy: float | None

    @property
    def first_diverging(self) -> StepDifference | None:
        """The first layer that differs."""
        return first_diverging(self.layers)


@dataclass(frozen=True, slots=True)
class QuantizedReport:
    """All that verification found; `allowed_steps`: see `too_far`."""

    num_samples: int
    num_layer_samples: int
    interpreter: InterpreterCheck
    runtime: tuple[RuntimeCheck, ...]
    accuracy: float | None
    allowed_steps: Mapping[str, int]

    def too_far(self) -> tuple[tuple[str, int, int], ...]:
        """(output, steps, allowed steps) of those that are far from every mode of ONNX Runtime.

        Allowed is a step, or as far as its own modes are from each other.
        """
        found = []
        for name, allowed in self.allowed_steps.items():
            nearest = min(
                one.max_steps for mode in self.runtime for one in mode.outputs if one.name == name
            )
            if nearest > allowed:
                found.append((name, nearest, allowed))
        return tuple(found)

    def floats_too_far(self) -> tuple[Difference, ...]:
        """Float outputs that are beyond their tolerance in every mode; the nearest of each."""
        by_name: dict[str, list[Difference]] = {}
        for mode in self.runtime:
            for one in mode.float_outputs:
                by_name.setdefault(one.name, []).append(one)
        nearest = [min(found, key=lambda one: one.num_beyond) for found in by_name.values()]
        return tuple(one for one in nearest if not one.is_within)


@dataclass(frozen=True, slots=True)
class Task:
    """What is checked: samples, their labels if there are any, and how many go layer by layer.

    `layers`: whether layers are compared at all.
    """

    samples: Sequence[Arrays]
    labels: Array | None = None
    num_layer_samples: int = 4
    layers: bool = True


def meaning(imported: Graph, target: Target) -> Graph:
    """The graph that states what a quantized model computes: integers raised, nothing else."""
    return PassManager(LEVELS[OptLevel.O0].pipeline(target)).run(imported)


def verify_quantized(
    run: Run, compilation: Compilation, model: ModelSource, task: Task
) -> QuantizedReport:
    """Compares `run`, and the layers of `compilation`, with the interpreter and ONNX Runtime.

    Raises:
        ToolchainError: ONNX Runtime is not installed.
        Refused: it does not load the model.
    """
    graph = meaning(compilation.imported, compilation.program.target)
    scales = output_scales(compilation.imported)
    few = task.samples[: task.num_layer_samples]
    got = [dict(run(sample)) for sample in task.samples]
    observed = [_observed(graph, sample) for sample in few]
    form = quantized_form(model)
    theirs = {
        mode: [dict(reference(sample)) for sample in task.samples]
        for mode, reference in ((m, onnxruntime_run(model, m)) for m in modes_of(form))
    }
    checks = []
    for mode, outputs in theirs.items():
        layers: tuple[StepDifference, ...] = ()
        if task.layers:
            holders = holders_of_tensors(compilation.imported, graph)
            layers = _runtime_layers(model, mode, form, holders, (few, observed, outputs))
        steps, floats = _outputs(got, outputs, scales)
        checks.append(RuntimeCheck(mode, steps, floats, layers, accuracy(outputs, task.labels)))
    return QuantizedReport(
        len(task.samples),
        len(few),
        _interpreter_check(compilation, graph, scales, got, observed, task),
        tuple(checks),
        accuracy(got, task.labels),
        _allowed_steps(list(theirs.values()), scales),
    )


def _observed(graph: Graph, sample: Arrays) -> dict[str, Array]:
    """Every value of the graph by its name; outputs under their ONNX names, too."""
    seen: dict[str, Array] = {}
    outputs = interpret(graph, sample, lambda value, array: seen.update({value.name: array}))
    return {**seen, **outputs}


def _outputs(
    got: Sequence[Arrays], reference: Sequence[Arrays], scales: Mapping[str, float]
) -> tuple[tuple[StepDifference, ...], tuple[Difference, ...]]:
    tally = StepTally()
    floats: dict[str, Difference] = {}
    for ours, theirs in zip(got, reference, strict=True):
        for name in ours:
            if name in scales:
                tally.add(step_difference(name, ours[name], theirs[name], scale=scales[name]))
            else:
                one = difference(name, ours[name], theirs[name])
                floats[name] = merged(floats[name], one) if name in floats else one
    return tally.differences(), tuple(floats.values())


def _allowed_steps(
    modes: Sequence[Sequence[Arrays]], scales: Mapping[str, float]
) -> Mapping[str, int]:
    allowed = dict.fromkeys(scales, 1)
    for number, first in enumerate(modes):
        for second in modes[number + 1 :]:
            for one in _outputs(first, second, scales)[0]:
                allowed[one.name] = max(allowed[one.name], one.max_steps)
    return allowed


def interpreter_check(
    compilation: Compilation, got: Sequence[Arrays], task: Task
) -> InterpreterCheck:
    """Compares outputs `got` of the first samples, and the layers, with the interpreter."""
    graph = meaning(compilation.imported, compilation.program.target)
    scales = output_scales(compilation.imported)
    observed = [_observed(graph, sample) for sample in task.samples[: task.num_layer_samples]]
    return _interpreter_check(compilation, graph, scales, got, observed, task)


def _interpreter_check(
    compilation: Compilation,
    graph: Graph,
    scales: Mapping[str, float],
    got: Sequence[Arrays],
    observed: Sequence[Arrays],
    task: Task,
) -> InterpreterCheck:
    exact_here = exact_values(graph)
    exact = {
        n for n, v in zip(graph.output_names, graph.outputs, strict=True) if v.name in exact_here
    }
    outputs = StepTally()
    for ours, seen in zip(got, observed, strict=False):
        for name, array in ours.items():
            if name in exact or name in scales:
                scale = scales.get(name, 1.0)
                outputs.add(step_difference(name, array, seen[name], scale=scale))
    layers, floats = StepTally(), dict[str, Difference]()
    if task.layers:
        exact |= _compare_layers(compilation, task, layers, floats)
    return InterpreterCheck(
        outputs.differences(), layers.differences(), tuple(floats.values()), frozenset(exact)
    )


def _compare_layers(
    compilation: Compilation, task: Task, layers: StepTally, floats: dict[str, Difference]
) -> set[str]:
    """Fills the tallies; gives the names of the layers that are exact."""
    values = exact_values(compilation.graph)
    runner, exact = LayerRunner(compilation), set[str]()
    for sample in task.samples[: task.num_layer_samples]:
        expected = _observed(compilation.graph, sample)
        runner.run(sample, _comparison(expected, values, layers, floats, exact))
    return exact


def _comparison(
    expected: Arrays,
    values: frozenset[str],
    layers: StepTally,
    floats: dict[str, Difference],
    exact: set[str],
) -> Callable[[int, Call, Array], None]:
    """What looks at each layer of one sample."""

    def compare(number: int, call: Call, got: Array) -> None:
        if call.result not in expected:
            return
        name = f"{number} {call.operation} %{call.result}"
        reference = expected[call.result].reshape(got.shape)
        if call.result in values:
            exact.add(name)
        if call.result in values or call.result_type.dtype.is_integer:
            layers.add(step_difference(name, got, reference, nodes=call.location.nodes))
        else:
            one = difference(name, got, reference)
            floats[name] = merged(floats[name], one) if name in floats else one

    return compare


def _runtime_layers(
    model: ModelSource,
    mode: Mode,
    form: QuantizedForm,
    holders: Mapping[str, Holder],
    runs: tuple[Sequence[Arrays], Sequence[Arrays], Sequence[Arrays]],
) -> tuple[StepDifference, ...]:
    """Integer tensors of the model; `runs`: samples, the interpreter's values, mode's outputs."""
    names = tuple(name for name in form.tensors if name in holders)
    content = with_outputs(model, names)
    if content is None:
        return ()
    run, tally = onnxruntime_run(content, mode), StepTally()
    for sample, ours, outputs in zip(*runs, strict=False):
        theirs = run(sample)
        if any(not np.array_equal(theirs[n], a, equal_nan=True) for n, a in outputs.items()):
            return ()
        for name in names:
            pair = _as_integers(ours[holders[name].name], theirs[name])
            if pair is not None:
                tally.add(step_difference(name, *pair, nodes=holders[name].nodes))
    return tally.differences()


def _as_integers(ours: Array, theirs: Array) -> tuple[Array, Array] | None:
    """Both as plain integers: unsigned tensors may have been shifted to signed ones by us."""
    if ours.size != theirs.size or not DType.from_numpy(theirs.dtype).is_integer:
        return None
    left, right = ours.astype(np.int64), theirs.astype(np.int64).reshape(ours.shape)
    if ours.dtype == np.int8 and theirs.dtype == np.uint8:
        left = left + 128
    return left.astype(np.int32), right.astype(np.int32)


def accuracy(outputs: Sequence[Arrays], labels: Array | None) -> float | None:
    """Share of the samples whose first output is largest at the label; None without classes."""
    if labels is None or len(labels) != len(outputs) or not outputs:
        return None
    first = [next(iter(sample.values())) for sample in outputs]
    if first[0].ndim == 0 or first[0].shape[-1] != first[0].size or first[0].size < 2:
        return None
    classes = np.array([int(np.argmax(array.astype(np.float64))) for array in first])
    return float(np.mean(classes == labels))
