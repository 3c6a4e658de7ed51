"""How far a student is from its teacher: by softened probabilities, or by what the outputs are.

Outputs of a softmax are compared as Hinton et al. (2015) do: at a temperature, with the labels in
addition if they are known. Other outputs are compared by their squared difference; so are values
inside that both have (Romero et al., 2015), from which little data teach much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.final_softmax import final_logits


def compared_values(graph: Graph, *, classifies: bool) -> tuple[tuple[Value, bool], ...]:
    """For each output the value that is compared, and whether it holds the logits of classes.

    Classes lie along the last axis: a softmax along another one counts as none. classifies:
    outputs are of classes in any case, logits where no softmax makes them.
    """
    return tuple(
        (value, classifies)
        if logits is None or logits.axis != value.type.rank - 1
        else (logits.value, True)
        for value, logits in zip(graph.outputs, final_logits(graph), strict=True)
    )


@dataclass(frozen=True, slots=True)
class Hint:
    """A value inside of both graphs; `channels` of the original's if the student has fewer."""

    taught: Value
    learned: Value
    channels: Array | None

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """What the student is to give, of what the original gives."""
        return tensor if self.channels is None else tensor[..., torch.from_numpy(self.channels)]


def hints(original: Graph, student: Graph, channels: Mapping[str, Array]) -> tuple[Hint, ...]:
    """What contractions read in both graphs, of one name; not their inputs.

    channels: by the names of values that are narrower in the student, or have them in another
    order, those of the original.
    """
    known = {value.name: value for op in student.ops for value in op.results}
    computed = {op.result for op in original.ops if op.inputs}
    read = (op.inputs[0] for op in original.ops if Trait.CONTRACTION in op.kind.traits)
    found = []
    for value in dict.fromkeys(read):
        learned = known.get(value.name)
        if value not in computed or learned is None:
            continue
        if value.name in channels and learned.type.dims[-1] == len(channels[value.name]):
            found.append(Hint(value, learned, channels[value.name]))
        elif learned == value:
            found.append(Hint(value, learned, None))
    return tuple(found)


def hint_loss(taught: Sequence[torch.Tensor], learned: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean over all values of the squared difference, as a share of the mean square."""
    total = torch.zeros(())
    for teacher, student in zip(taught, learned, strict=True):
        total = total + _relative_error(teacher, student)
    return total / max(len(taught), 1)


class _SquaredDistance(torch.autograd.Function):
    """The sum of squared differences, in a quarter of the time that the ops one by one take."""

    @staticmethod
    def forward(ctx: FunctionCtx, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        difference = student - teacher
        ctx.save_for_backward(difference)
        return _squared_norm(difference)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference * (2 * gradient).to(difference.dtype), None


def _squared_norm(x: torch.Tensor) -> torch.Tensor:
    return torch.square(torch.linalg.vector_norm(x, dtype=torch.float32))


def _relative_error(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    power = _squared_norm(teacher).clamp_min(1e-12 * teacher.numel())
    distance: torch.Tensor = _SquaredDistance.apply(student, teacher)
    return distance / power


def distillation_loss(
    taught: Sequence[torch.Tensor],
    learned: Sequence[torch.Tensor],
    are_logits: Sequence[bool],
    temperature: float,
) -> torch.Tensor:
    """The sum over all outputs: T^2 KL(teacher || student), or the share of the mean square."""
    total = torch.zeros(())
    for teacher, student, has_classes in zip(taught, learned, are_logits, strict=True):
        if has_classes:
            softened = functional.log_softmax(student.float() / temperature, -1)
            known = functional.log_softmax(teacher.float() / temperature, -1)
            loss = functional.kl_div(softened, known, reduction="none", log_target=True)
            total = total + temperature**2 * loss.sum(-1).mean()
        else:
            total = total + _relative_error(teacher, student)
    return total


def label_loss(
    logits: torch.Tensor, labels: torch.Tensor, counted: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of logits [n, classes], dimensions of size 1 between them left out.

    counted: bool[n], for which samples; the mean is still over all.
    """
    rows = logits.float().reshape(len(logits), -1)
    losses = functional.cross_entropy(rows, labels, reduction="none")
    return losses.mean() if counted is None else (losses * counted).mean()
