"""The descent of a whole network towards another: what `fit_outputs` runs.

Batches go through both networks a few samples at a time, so that values stay in caches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.layer_moments import MomentSums
from lepton_cc.passes.reconstruct.adam import WhitenedAdam
from lepton_cc.passes.reconstruct.block import Block
from lepton_cc.passes.reconstruct.whiten import WhitenedLayer
from lepton_cc.passes.reconstruct.whole import outputs_of
from lepton_cc.reconstruction.drawn_samples import DrawnSamples

# Samples that are run together, if what they leave for the way back takes no more bytes.
_TOGETHER, _MAX_BYTES = 8, 96 << 20
# Samples whose moments whiten the layers.
_NUM_WHITENED = 256
# One in so many samples is not fitted to, but judges whether the fit is better.
HELD_OUT = 10
# The share of the steps in which the rate rises.
_RISING = 0.02


@dataclass(frozen=True, slots=True)
class Hint:
    """What a value inside should be: one of the original, or some of its channels."""

    value: Value
    channels: Array | None

    def of(self, values: Mapping[Value, Array]) -> Array:
        """It, among the values of the original."""
        whole = values[self.value]
        return whole if self.channels is None else whole[..., self.channels]


def hints_of(teacher: Block, student: Block, kept: Mapping[str, Array]) -> dict[Value, Hint]:
    """For what layers read in the student, if the teacher has it too."""
    known = {op.result.name: op.result for op in teacher.ops}
    read = dict.fromkeys(op.inputs[0] for op in fitted_layers(student).values())
    found = {}
    for value in read:
        goal = known.get(value.name)
        if goal is not None and value.name in kept:
            found[value] = Hint(goal, kept[value.name])
        elif goal is not None and goal.type == value.type:
            found[value] = Hint(goal, None)
    return found


def fitted_layers(block: Block) -> dict[Value, Op]:
    """The contractions that are trained, by their weights."""
    return {op.inputs[1]: op for op in block.ops if set(op.inputs[1:]) & set(block.trained)}


class WholeFit:
    """The samples, both networks, and the constants of one of them while they change."""

    def __init__(
        self,
        teacher: Block,
        student: Block,
        samples: Array,
        hints: Mapping[Value, Hint],
        hint_weight: float,
    ) -> None:
        self._teacher, self._block = teacher, student
        self._hints, self._hint_weight = (hints if hint_weight else {}), hint_weight
        self._layers = fitted_layers(student)
        judges = np.arange(len(samples)) % HELD_OUT == 0
        self._held, self._samples = samples[judges], samples
        self.free = np.flatnonzero(~judges)
        elements = sum(_elements(op) for op in self._layers.values())
        self._together = max(1, min(_TOGETHER, _MAX_BYTES // (4 * max(elements, 1))))
        self._goals = outputs_of(teacher, {}, self._held, self._together)
        self._power = max(float(self._goals.var()), 1e-30)
        some = teacher.forward(self._held[: 4 * self._together], {})
        self._hint_powers = {
            value: max(float(hint.of(some).var()), 1e-30) for value, hint in hints.items()
        }

    def descend(
        self, drawn: DrawnSamples, batch: int, num_steps: int, rate: float
    ) -> dict[Value, Array]:
        """What the trained constants become in so many steps; the rate falls as a cosine."""
        constants = dict(self._block.constants)
        adam = WhitenedAdam(self._layers, self._whitened())
        for step in range(num_steps):
            rise = min(1.0, (step + 1) / (_RISING * num_steps + 1))
            fall = 0.5 * (1 + float(np.cos(np.pi * step / num_steps)))
            gradients = self._gradients(constants, drawn.batch(batch))
            adam.move(constants, gradients, rate * rise * fall)
        return {value: constants[value] for value in self._block.trained}

    def error(self, constants: Mapping[Value, Array]) -> float:
        """The share of the outputs' variance that is missed on what was held out."""
        got = outputs_of(self._block, constants, self._held, self._together)
        return float(np.mean((got - self._goals) ** 2)) / self._power

    def _whitened(self) -> dict[Value, WhitenedLayer]:
        """Coordinates by weights, from what the layers read in some samples."""
        chosen = self.free[:: max(1, len(self.free) // _NUM_WHITENED)]
        sums = {value: MomentSums(op, len(chosen)) for value, op in self._layers.items()}
        powers: dict[Value, list[Array]] = {value: [] for value in self._layers}
        for one in chosen:
            values = self._block.forward(self._samples[one : one + 1], {})
            for value, op in self._layers.items():
                x, y = values[op.inputs[0]], values[op.result]
                sums[value].observe(x, x)
                flat = y.reshape(-1, y.shape[-1])
                powers[value].append(np.stack([flat.mean(axis=0), (flat**2).mean(axis=0)]))
        found = {}
        for value, op in self._layers.items():
            mean, square = np.mean(powers[value], axis=0)
            deviations = np.sqrt(np.maximum(square - mean**2, 0.0))
            weights = self._block.constants[value]
            found[value] = WhitenedLayer(op, weights, sums[value].moments(), deviations)
        return found

    def _gradients(self, constants: Mapping[Value, Array], samples: Array) -> dict[Value, Array]:
        """Of the mean error of a batch."""
        total: dict[Value, Array] = {}
        for first in range(0, len(samples), self._together):
            part = samples[first : first + self._together]
            for value, gradient in self._part_gradients(constants, part, len(samples)).items():
                total[value] = total[value] + gradient if value in total else gradient
        return total

    def _part_gradients(
        self, constants: Mapping[Value, Array], samples: Array, batch: int
    ) -> dict[Value, Array]:
        wanted = self._teacher.forward(samples, {})
        values = self._block.forward(samples, constants)
        missed = values[self._block.exit] - wanted[self._teacher.exit]
        part = len(samples) / batch
        inner: dict[Value, Array] = {}
        for value, hint in self._hints.items():
            goal = hint.of(wanted)
            count = len(self._hints) * goal.size * self._hint_powers[value] / part
            inner[value] = (values[value] - goal) * np.float32(self._hint_weight / count)
        dy = missed * np.float32(part / (self._power * missed.size))
        return self._block.backward(values, dy, inner)


def _elements(op: Op) -> int:
    """What a sample leaves of a layer for the way back: values and windows."""
    size, columns = op.result.type.num_elements, op.result.type.dims[-1]
    return 3 * size + size // columns * (op.inputs[1].type.num_elements // columns)
