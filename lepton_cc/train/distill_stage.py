"""The stage that trains: a student learns to give the outputs that the original gives.

The student is the original itself, or what stages before made of it, made sparse or rounded while
it is trained; that with fewer channels; or another model with the same inputs and outputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from lepton_cc.compression.stage import StageContext, StageResult, StageTable
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.pattern import UNSTRUCTURED, Pattern
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.pruning.options import PruneOptions
from lepton_cc.pruning.prune import prune
from lepton_cc.train.augmentation import Augmentation
from lepton_cc.train.distillation import Lesson, Schedule, TrainingRecord, train
from lepton_cc.train.narrow_student import Student, narrow_student, total_macs
from lepton_cc.train.torch_import import trainable_graph

# Samples by which it is decided what goes.
_NUM_FOR_PRUNING = 256


@dataclass(frozen=True, slots=True)
class DistillStage:
    """Knowledge distillation from the original.

    student: None, the share of the multiply-adds that stay, or an ONNX file. sparsity: the share of
    weights that are zero from the beginning, in a pattern; 0: none. scheme: None leaves floats.
    labels: classes i64[n] of the samples.
    """

    name: ClassVar[str] = "distill"
    student: float | Path | None = None
    sparsity: float = 0.0
    pattern: Pattern = UNSTRUCTURED
    scheme: WeightScheme | None = None
    labels: Array | None = None
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    progress: Callable[[str], None] | None = None

    def run(self, graph: Graph, context: StageContext) -> StageResult:
        lesson = self._lesson(context)
        begun = self._student(graph, context, lesson)
        student, lesson = begun.graph, replace(lesson, channels=begun.channels)
        if student is context.original and not self.sparsity and self.scheme is None:
            raise UsageError(
                "nothing would be smaller: give a student, low rank, a sparsity or integers"
            )
        if self.sparsity:
            samples = _some_samples(student, lesson)
            pruned = prune(student, samples, PruneOptions(self.sparsity, self.pattern))
            student = pruned.graph
            lesson = replace(lesson, channels=_followed(lesson.channels, pruned.kept))
        trained, record = train(
            context.original, student, lesson, self.schedule, self.scheme, self.progress
        )
        report = self._report(context.original, student, record)
        return StageResult(trained, report, table=_table(report))

    def _lesson(self, context: StageContext) -> Lesson:
        columns: dict[str, list[Array]] = {value.name: [] for value in context.data.inputs}
        for sample in context.data.samples():
            for name, array in sample.items():
                columns[name].append(array)
        inputs = [torch.from_numpy(np.concatenate(rows)) for rows in columns.values()]
        labels = None
        if self.labels is not None:
            _check_labels(self.labels, len(inputs[0]), context.original.outputs[0])
            labels = torch.from_numpy(self.labels.astype(np.int64))
        return Lesson(tuple(inputs), labels, self.augmentation)

    def _student(self, graph: Graph, context: StageContext, lesson: Lesson) -> Student:
        if self.student is None:
            return Student(graph)
        if isinstance(self.student, Path):
            found = trainable_graph(self.student)
            _check_interface(context.original, found)
            return Student(found)
        if not 0 < self.student < 1:
            raise UsageError(f"student={self.student}: a share of multiply-adds is between 0 and 1")
        return narrow_student(graph, _some_samples(graph, lesson), self.student)

    def _report(
        self, original: Graph, student: Graph, record: TrainingRecord
    ) -> Mapping[str, object]:
        schedule = self.schedule
        return {
            "student": None if self.student is None else str(self.student),
            "sparsity": self.sparsity,
            "pattern": self.pattern.name,
            "scheme": None if self.scheme is None else self.scheme.value,
            "epochs": schedule.epochs,
            "batch": schedule.batch,
            "learning_rate": schedule.learning_rate,
            "temperature": schedule.temperature,
            "label_weight": schedule.label_weight if self.labels is not None else 0.0,
            "hint_weight": schedule.hint_weight,
            **asdict(self.augmentation),
            "seed": schedule.seed,
            "num_macs_before": total_macs(original),
            "num_macs": total_macs(student),
            "zeros": record.sparsity,
            "losses": list(record.losses),
            "agreement": record.agreement,
            "accuracy_before": record.teacher_accuracy,
            "accuracy": record.student_accuracy,
        }


def _followed(before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, Array]:
    """Channels of the original, by names of values, of a student that was changed twice."""
    changed = {name: before[name][own] if name in before else own for name, own in after.items()}
    return {**before, **changed}


def _check_labels(labels: Array, num_samples: int, output: Value) -> None:
    """Refuses labels that are no classes of the first output."""
    form = f"{labels.dtype}{list(labels.shape)}"
    if labels.shape != (num_samples,) or labels.dtype.kind not in "iu":
        raise refuse(
            Code.BAD_INPUT_DATA, f"labels are {form}, which are no classes of {num_samples} samples"
        )
    num_classes = output.type.num_elements
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise refuse(
            Code.BAD_INPUT_DATA,
            f"labels are from {labels.min()} to {labels.max()}, the output has {num_classes} "
            "classes",
        )


def _some_samples(graph: Graph, lesson: Lesson) -> dict[str, Array]:
    """Samples at even distances, because files are often sorted by class."""
    count = len(lesson.inputs[0])
    chosen = np.unique(np.linspace(0, count - 1, _NUM_FOR_PRUNING).round().astype(np.int64))
    return {
        value.name: tensor[chosen].numpy()
        for value, tensor in zip(graph.inputs, lesson.inputs, strict=True)
    }


def _check_interface(original: Graph, student: Graph) -> None:
    """Refuses a student that reads or gives something else."""
    for what, ours, theirs in (
        ("inputs", original.inputs, student.inputs),
        ("outputs", original.outputs, student.outputs),
    ):
        wanted, found = [str(v.type) for v in ours], [str(v.type) for v in theirs]
        if wanted != found:
            raise refuse(
                Code.TYPE_MISMATCH,
                f"the student's {what} are {', '.join(found)}, those of the model "
                f"{', '.join(wanted)}",
            )


def _table(report: Mapping[str, object]) -> StageTable:
    def percent(value: object) -> str:
        return f"{value:.2%}" if isinstance(value, float) else "-"

    rows = (
        ("MACs", str(report["num_macs_before"]), str(report["num_macs"])),
        ("zeros", "-", percent(report["zeros"])),
        ("same class as the original, on this data", "-", percent(report["agreement"])),
        ("accuracy on this data", *(percent(report[k]) for k in ("accuracy_before", "accuracy"))),
    )
    return StageTable("trained", ("", "original", "student"), rows)
