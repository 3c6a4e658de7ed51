"""Accuracy on the chip: MLPerf Tiny's models, as they were quantized and as we quantize them.

The chip's outputs are those of `HybridModel`; x86-64 runs the same graph and must give the same
bytes for every sample that both ran.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import lepton_cc
from benchmarks.measure_quantization import TASKS, Array, Task
from benchmarks.npu.subjects import TARGET
from benchmarks.page import row, table_head
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.npu.hybrid import HybridModel

_FLOAT = "_fp32"
_MAX_ON_CHIP = 2000


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Per cent of a form of a model on its whole data.

    `on_chip` of the `num_samples` were run by the emulated engine, `num_equal` gave x86-64's bytes;
    both are 0 for the float form.
    """

    model: str
    form: str
    score: float
    num_samples: int
    on_chip: int = 0
    num_equal: int = 0
    cycles: int = 0


def tasks(only: str) -> tuple[Task, ...]:
    """The float models whose name contains `only`, if they are beside the checkout."""
    return tuple(
        task
        for task in TASKS
        if task.name.endswith(_FLOAT) and only in task.name and task.path.is_file()
    )


def measured_accuracy(task: Task) -> tuple[Accuracy, ...]:
    """Float, the official int8 form, and our own quantization of the float form."""
    known, seen, labels = task.samples()
    name = task.name.removesuffix(_FLOAT)
    official = dataclasses.replace(task, name=f"{name}_int8_qdq")
    floats = lepton_cc.compile(task.path, target="x86-64")
    (port,) = floats.inputs
    known, seen = (x.reshape(-1, *port.type.dims) for x in (known, seen))
    calibrate = {port.name: known}
    found = [_float_accuracy(name, task, floats, seen, labels)]
    for form, source, scheme in (("int8", official, None), ("w8a8", task, "w8a8")):
        core, chip = (
            lepton_cc.compile(
                source.path,
                target=target,
                quantize=scheme,
                calibrate=None if scheme is None else calibrate,
            )
            for target in ("x86-64", TARGET)
        )
        found.append(
            _chip_accuracy(Accuracy(name, form, 0.0, len(seen)), task, (core, chip), seen, labels)
        )
    return tuple(found)


def _outputs(model: CompiledModel, seen: Array) -> Array:
    (port,) = model.inputs
    return np.concatenate([next(iter(model.run({port.name: x}).values())) for x in seen])


def _float_accuracy(
    name: str, task: Task, model: CompiledModel, seen: Array, labels: Array
) -> Accuracy:
    outputs = _outputs(model, seen)
    score = task.score(seen.reshape(len(seen), -1), outputs, labels)
    return Accuracy(name, "float", score, len(seen))


def _chip_accuracy(
    blank: Accuracy,
    task: Task,
    models: tuple[CompiledModel, CompiledModel],
    seen: Array,
    labels: Array,
) -> Accuracy:
    """Scores x86-64's outputs with the chip's in their places."""
    core, chip = models
    engine = chip.compilation.options.target.engine
    assert engine is not None
    hybrid = HybridModel(chip.compilation.graph, machine_of(engine))
    outputs = _outputs(core, seen)
    (port,) = chip.inputs
    chosen = np.unique(np.linspace(0, len(seen) - 1, _MAX_ON_CHIP).astype(int))
    num_equal = 0
    for index in chosen:
        (result,) = hybrid.run({port.name: seen[index]}).values()
        num_equal += outputs[index].tobytes() == result.tobytes()
        outputs[index] = result[0]
    score = task.score(seen.reshape(len(seen), -1), outputs, labels)
    return dataclasses.replace(
        blank, score=score, on_chip=len(chosen), num_equal=num_equal, cycles=hybrid.cycles
    )


def accuracy_tables(accuracies: Sequence[Accuracy]) -> Iterator[str]:
    """The table."""
    yield from (f"### Accuracy on the chip, {TARGET}", "")
    yield from table_head(
        (
            *("model", "form", "accuracy or AUC, %", "samples", "run by the engine"),
            *("equal to x86-64", "cycles"),
        )
    )
    for one in accuracies:
        ran = (str(one.on_chip), str(one.num_equal), f"{one.cycles:,}")
        cells = (one.model, one.form, f"{one.score:.2f}", str(one.num_samples))
        yield row((*cells, *(ran if one.on_chip else ("-",) * 3)))
    yield ""
