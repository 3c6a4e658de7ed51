"""The training of a student by its teacher: batches, schedule, and what came of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.train.augmentation import Augmentation
from lepton_cc.train.distillation_loss import (
    compared_values,
    distillation_loss,
    hint_loss,
    hints,
    label_loss,
)
from lepton_cc.train.graph_module import GraphModule
from lepton_cc.train.lepton_optimizer import LeptonOptimizer
from lepton_cc.train.whitened_weights import WhitenedWeights

_WARM_UP_SHARE = 0.05
# Samples whose moments whiten the layers.
_NUM_WHITENED = 256
# The rate of what has no coordinates, of its root mean square.
_SHARE_OF_SIZE = 5.0
# Of the steps: behind it only outputs are compared.
_HINTED_SHARE = 0.7
# Of parameters that are zero at first.
_SMALLEST_SIZE = 1e-3
# Learned scales are logarithms, whose steps are relative as they are.
_SHARE_OF_SCALES = 0.5


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train: Adam, its rate rising at first, then falling as a cosine.

    learning_rate: the largest step of a weight, in deviations of its layer's outputs.
    label_weight: the share of the labels' loss, if there are labels. hint_weight: what the values
    inside count at first that original and student both have; it falls to nothing, as a student
    that is smaller cannot have all of them and the outputs too. bfloat16: products in that type, as
    long as nothing is rounded to integers: faster on processors that have it. The same seed gives
    the same student on the same machine with the same number of threads.
    """

    epochs: int = 30
    batch: int = 64
    learning_rate: float = 2e-3
    temperature: float = 4.0
    label_weight: float = 0.3
    hint_weight: float = 20.0
    seed: int = 0
    bfloat16: bool = False

    def check(self) -> None:
        """Refuses what makes no sense.

        Raises:
            UsageError: a number is out of its range.
        """
        if self.epochs < 1 or self.batch < 1:
            raise UsageError(f"epochs={self.epochs}, batch={self.batch}: at least 1")
        if not 0 < self.learning_rate < math.inf or not 0 < self.temperature < math.inf:
            raise UsageError("learning rate and temperature are above 0")
        if not 0 <= self.label_weight <= 1:
            raise UsageError(f"label_weight={self.label_weight} is not between 0 and 1")
        if not 0 <= self.hint_weight < math.inf or self.seed < 0:
            raise UsageError(
                f"hint_weight={self.hint_weight}, seed={self.seed}: neither is negative"
            )


@dataclass(frozen=True, slots=True)
class Lesson:
    """Samples [n, *rest] of each input, their classes i64[n] if they are known.

    channels: what a narrower student has of the original's values, see `hints`.
    """

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor | None
    augmentation: Augmentation
    channels: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Losses, one an epoch; figures on the lesson's samples, None where they mean nothing."""

    losses: tuple[float, ...]
    sparsity: float
    agreement: float | None
    teacher_accuracy: float | None
    student_accuracy: float | None


def train(
    original: Graph,
    student: Graph,
    lesson: Lesson,
    schedule: Schedule,
    scheme: WeightScheme | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Graph, TrainingRecord]:
    """The trained student, and how it went; weights that are zero stay so.

    Raises:
        Refused: one of the graphs cannot be trained; with all ops that are in the way.
        UsageError: an option makes no sense.
    """
    schedule.check()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schedule.seed)
        return _Training(original, student, lesson, schedule).run(scheme, progress)


class _Training:
    def __init__(self, original: Graph, student: Graph, lesson: Lesson, schedule: Schedule) -> None:
        self._graph = student
        self._teacher, self._student = GraphModule(original), GraphModule(student)
        classifies = lesson.labels is not None
        compared = compared_values(original, classifies=classifies)
        learned = compared_values(student, classifies=classifies)
        self._taught = [value for value, _ in compared]
        self._learned = [value for value, _ in learned]
        self._are_logits = [a and b for (_, a), (_, b) in zip(compared, learned, strict=True)]
        if self._are_logits != [has_classes for _, has_classes in compared]:
            # Probabilities and logits do not compare; outputs do.
            self._taught, self._learned = list(original.outputs), list(student.outputs)
            self._are_logits = [False] * len(self._taught)
        self._num_compared = len(self._taught)
        self._hints = hints(original, student, lesson.channels) if schedule.hint_weight else ()
        self._taught += [hint.taught for hint in self._hints]
        self._learned += [hint.learned for hint in self._hints]
        self._lesson, self._schedule = lesson, schedule
        self._generator = torch.Generator().manual_seed(schedule.seed)
        self._known: list[torch.Tensor] | None = None

    def run(
        self, scheme: WeightScheme | None, progress: Callable[[str], None] | None
    ) -> tuple[Graph, TrainingRecord]:
        schedule, count = self._schedule, len(self._lesson.inputs[0])
        # What is rounded stays near where it stood: coordinates move it too far (ResNet-8 at w4a8
        # after six epochs: 84.6, in plain ones 87.4).
        samples = self._some_inputs() if scheme is None else []
        whitened = WhitenedWeights(self._graph, self._student, samples)
        adam = torch.optim.Adam(_groups(whitened, schedule.learning_rate))
        optimizer = LeptonOptimizer(self._student.parameters(), adam)
        if scheme is not None:
            optimizer.quantize(scheme, schedule.learning_rate * _SHARE_OF_SCALES)
        steps = schedule.epochs * math.ceil(count / schedule.batch)
        optimizer.keep_zeros()
        rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, steps))
        losses: list[float] = []
        narrow = schedule.bfloat16 and scheme is None
        self._student.train()
        for epoch in range(schedule.epochs):
            total = 0.0
            for chosen in torch.randperm(count, generator=self._generator).split(schedule.batch):
                self._student.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                    loss = self._loss(chosen, _hint_share(rates.last_epoch, steps))
                loss.backward()
                whitened.pull()
                optimizer.step()
                whitened.push()
                rates.step()
                total += float(loss.detach()) * len(chosen)
            losses.append(total / count)
            if progress is not None:
                progress(f"epoch {epoch + 1} of {schedule.epochs}, loss {losses[-1]:.4f}")
        self._student.eval()
        return self._student.quantized_graph(), self._record(losses)

    def _some_inputs(self) -> list[torch.Tensor]:
        """Samples at even distances, by which layers are whitened."""
        count = len(self._lesson.inputs[0])
        chosen = torch.linspace(0, count - 1, min(count, _NUM_WHITENED)).round().long()
        return [one[chosen] for one in self._lesson.inputs]

    def _loss(self, chosen: torch.Tensor, hint_share: float) -> torch.Tensor:
        inputs = [one[chosen] for one in self._lesson.inputs]
        alone = None
        if self._lesson.augmentation.changes:
            inputs, alone = self._lesson.augmentation(inputs, self._generator)
        hinted = bool(self._hints) and hint_share > 0
        if self._lesson.augmentation.changes or hinted:
            taught = self._taught_by(inputs)
        else:
            taught = [one[chosen] for one in self._taught_by_all()]
        learned = self._student.evaluate(inputs, self._learned)
        schedule, labels, count = self._schedule, self._lesson.labels, self._num_compared
        loss = distillation_loss(
            taught[:count], learned[:count], self._are_logits, schedule.temperature
        )
        if hinted:
            wanted = [h.of(one) for h, one in zip(self._hints, taught[count:], strict=True)]
            hint_weight = schedule.hint_weight * hint_share
            loss = loss + hint_weight * hint_loss(wanted, learned[count:])
        if labels is None or not schedule.label_weight:
            return loss
        by_labels = label_loss(learned[0], labels[chosen], alone)
        return (1 - schedule.label_weight) * loss + schedule.label_weight * by_labels

    def _taught_by(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with torch.no_grad():
            return list(self._teacher.evaluate(inputs, self._taught))

    def _taught_by_all(self) -> list[torch.Tensor]:
        """What the teacher says of each sample: computed once, if samples stay as they are."""
        if self._known is None:
            parts = [self._taught_by(batch)[: self._num_compared] for batch in self._batches()]
            self._known = [torch.cat(columns) for columns in zip(*parts, strict=True)]
        return self._known

    def _batches(self) -> list[list[torch.Tensor]]:
        size = self._schedule.batch
        split = [one.split(size) for one in self._lesson.inputs]
        return [list(parts) for parts in zip(*split, strict=True)]

    def _record(self, losses: Sequence[float]) -> TrainingRecord:
        weights = self._student.prunable_weights()
        num_weights = sum(one.numel() for one in weights)
        zeros = sum(int((one == 0).sum()) for one in weights)
        sparsity = zeros / num_weights if num_weights else 0.0
        if not self._are_logits[0]:
            return TrainingRecord(tuple(losses), sparsity, None, None, None)
        with torch.no_grad():
            taught = self._taught_by_all()[0].flatten(1).argmax(1)
            batches = [self._student.evaluate(b, self._learned[:1])[0] for b in self._batches()]
            learned = torch.cat(batches).flatten(1).argmax(1)
        labels = self._lesson.labels
        return TrainingRecord(
            tuple(losses),
            sparsity,
            _share(taught == learned),
            None if labels is None else _share(taught == labels),
            None if labels is None else _share(learned == labels),
        )


def _groups(whitened: WhitenedWeights, rate: float) -> list[dict[str, object]]:
    """Coordinates at the rate itself, others relative to the root mean square of each tensor.

    Adam moves all elements by the same amount, whatever their size. Shazeer and Stern, Adafactor
    (2018), section 8.
    """
    groups: list[dict[str, object]] = []
    if coordinates := whitened.coordinates():
        groups.append({"params": coordinates, "lr": rate})
    for one in whitened.others:
        size = math.sqrt(float(one.detach().square().mean()))
        groups.append({"params": [one], "lr": _SHARE_OF_SIZE * rate * max(size, _SMALLEST_SIZE)})
    return groups


def _share(same: torch.Tensor) -> float:
    return float(same.to(torch.float64).mean())


def _rate(step: int, steps: int) -> float:
    """The share of the learning rate at a step."""
    rise = max(_WARM_UP_SHARE * steps, 1.0)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1.0)))


def _hint_share(step: int, steps: int) -> float:
    """The share of the hints' weight at a step."""
    return max(0.0, 1 - step / (_HINTED_SHARE * steps))
