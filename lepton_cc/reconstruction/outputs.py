"""Reconstruction of a whole network: all weights together, by the gradient of its outputs' error.

Nothing is labelled: what the original network gives for the samples is what is wanted. Weights that
are zero stay zero. It comes after layers were solved for one by one, which is where it starts from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import with_constants
from lepton_cc.passes.quantize.layer_moments import MomentSums
from lepton_cc.passes.reconstruct.block import Block
from lepton_cc.passes.reconstruct.whiten import WhitenedLayer
from lepton_cc.passes.reconstruct.whole import outputs_of, refusal_of_whole, whole_block

# Bytes of samples that are kept to be drawn from, and of what a batch may leave for the way back.
_MAX_SAMPLE_BYTES, _MAX_BATCH_BYTES = 128 << 20, 96 << 20
_BATCH = 32
# Samples whose moments whiten the layers.
_NUM_WHITENED = 256
# One in so many samples is not fitted to, but judges whether the fit is better.
_HELD_OUT = 10
_SEED = 0
_FIRST_MOMENT, _SECOND_MOMENT, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How long and how fast.

    num_macs: of the forward runs of all steps together. max_steps: but no more steps than that.
    max_rounds: but no sample more often than that. rate: of the first steps, in deviations of a
    layer's outputs, for each of the model's that the output misses at first: what is nearly right
    moves little. hints: what the errors of values inside count together, that of the output 1.
    """

    num_macs: int = 6 * 10**11
    max_steps: int = 3000
    max_rounds: int = 100
    rate: float = 8e-3
    hints: float = 1.0


@dataclass(frozen=True, slots=True)
class OutputFit:
    """The fitted graph and the shares of its outputs' variance that were missed, and are.

    They are of samples that were not fitted to. Without a fit they are None, and `reason` is said.
    `unfitted` is the graph as it came.
    """

    graph: Graph
    unfitted: Graph
    error_before: float | None
    error: float | None
    num_steps: int
    reason: str = ""


def fit_outputs(
    original: Graph,
    compressed: Graph,
    data: CalibrationData,
    options: FitOptions,
    kept: Mapping[str, Array] | None = None,
) -> OutputFit:
    """Fits all weights and biases of a prepared float graph to what the original one gives.

    Adam (Kingma and Ba, 2015) in whitened coordinates, on the mean squared error before a final
    softmax and, as hints (Romero et al., FitNets, 2015), of what layers read inside; the rate falls
    as a cosine. Memory is bounded, however many samples there are.
    kept: by the names of values that have fewer channels now, those of the original that they are.
    """
    reason = refusal_of_whole(original) or refusal_of_whole(compressed)
    if reason:
        return OutputFit(compressed, compressed, None, None, 0, reason)
    teacher, student = whole_block(original), whole_block(compressed)
    samples = _kept_samples(data)
    if len(samples) < 2 * _HELD_OUT:
        return OutputFit(
            compressed, compressed, None, None, 0, f"{len(samples)} samples are too few"
        )
    hints = _hints(teacher, student, kept or {})
    fit = _Fit(teacher, student, samples, options, hints)
    before, constants, after = fit.run()
    if after >= before:
        return OutputFit(
            compressed, compressed, before, before, 0, "it was no better on other samples"
        )
    fitted = with_constants(compressed, constants)
    return OutputFit(fitted, compressed, before, after, fit.num_steps)


@dataclass(frozen=True, slots=True)
class _Hint:
    """What a value inside should be: one of the original, or some of its channels."""

    value: Value
    channels: Array | None

    def of(self, values: Mapping[Value, Array]) -> Array:
        """It, among the values of the original."""
        whole = values[self.value]
        return whole if self.channels is None else whole[..., self.channels]


def _hints(teacher: Block, student: Block, kept: Mapping[str, Array]) -> dict[Value, _Hint]:
    """For what layers read in the student, if the teacher has it too."""
    known = {op.result.name: op.result for op in teacher.ops}
    read = dict.fromkeys(
        op.inputs[0] for op in student.ops if set(op.inputs[1:]) & set(student.trained)
    )
    found = {}
    for value in read:
        goal = known.get(value.name)
        if goal is not None and goal.type == value.type:
            found[value] = _Hint(goal, None)
        elif goal is not None and value.name in kept:
            found[value] = _Hint(goal, kept[value.name])
    return found


class _Fit:
    """The samples, what is wanted for each, and the constants while they change."""

    def __init__(
        self,
        teacher: Block,
        student: Block,
        samples: Array,
        options: FitOptions,
        hints: Mapping[Value, _Hint],
    ) -> None:
        self._teacher, self._block = teacher, student
        self._samples, self._options, self._hints = samples, options, hints
        self._layers = {
            op.inputs[1]: op for op in student.ops if set(op.inputs[1:]) & set(student.trained)
        }
        layers = tuple(self._layers.values())
        self._batch, self.num_steps = _extent(layers, options, len(samples))
        judges = np.arange(len(samples)) % _HELD_OUT == 0
        self._held, self._free = np.flatnonzero(judges), np.flatnonzero(~judges)
        self._goals = outputs_of(teacher, {}, samples, self._batch)
        self._power = max(float(self._goals.var()), 1e-30)
        some = teacher.forward(samples[self._held[: self._batch]], {})
        self._hint_powers = {
            value: max(float(hint.of(some).var()), 1e-30) for value, hint in hints.items()
        }

    def run(self) -> tuple[float, dict[Value, Array], float]:
        """The error before, the constants found, and the error with them."""
        constants = dict(self._block.constants)
        before = self._error(constants)
        whitened = self._whitened()
        rate = self._options.rate * min(1.0, before**0.5)
        adam = _Adam()
        generator = np.random.default_rng(_SEED)
        order = np.zeros(0, np.int64)
        for step in range(self.num_steps):
            if len(order) < self._batch:
                order = np.concatenate([order, generator.permutation(self._free)])
            chosen, order = order[: self._batch], order[self._batch :]
            warm = min(1.0, (step + 1) / (0.02 * self.num_steps + 1))
            fall = 0.5 * (1 + float(np.cos(np.pi * step / self.num_steps)))
            gradients = self._gradients(constants, chosen)
            adam.rate = rate * warm * fall
            adam.count += 1
            for value, op in self._layers.items():
                _move(constants, gradients, op, whitened[value], adam)
        found = {value: constants[value] for value in self._block.trained}
        return before, found, self._error(constants)

    def _whitened(self) -> dict[Value, WhitenedLayer]:
        """Coordinates by weights, from what the layers read in some samples."""
        chosen = self._free[:: max(1, len(self._free) // _NUM_WHITENED)]
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

    def _gradients(self, constants: Mapping[Value, Array], chosen: Array) -> dict[Value, Array]:
        values = self._block.forward(self._samples[chosen], constants)
        missed = values[self._block.exit] - self._goals[chosen]
        inner: dict[Value, Array] = {}
        if self._hints and self._options.hints:
            wanted = self._teacher.forward(self._samples[chosen], {})
            for value, hint in self._hints.items():
                goal = hint.of(wanted)
                count = len(self._hints) * goal.size * self._hint_powers[value]
                inner[value] = (values[value] - goal) * np.float32(self._options.hints / count)
        dy = missed * np.float32(1 / (self._power * missed.size))
        return self._block.backward(values, dy, inner)

    def _error(self, constants: Mapping[Value, Array]) -> float:
        """The share of the outputs' variance that is missed on what was held out."""
        got = outputs_of(self._block, constants, self._samples[self._held], self._batch)
        return float(np.mean((got - self._goals[self._held]) ** 2)) / self._power


class _Adam:
    """Running moments of gradients and the steps that they lead to."""

    def __init__(self) -> None:
        self.rate, self.count = 0.0, 0
        self._means: dict[Value, Array] = {}
        self._squares: dict[Value, Array] = {}

    def step(self, value: Value, gradient: Array) -> Array:
        """What to add to one array."""
        mean = self._means.setdefault(value, np.zeros_like(gradient))
        square = self._squares.setdefault(value, np.zeros_like(gradient))
        mean += (1 - _FIRST_MOMENT) * (gradient - mean)
        square += (1 - _SECOND_MOMENT) * (gradient * gradient - square)
        spread = np.sqrt(square / (1 - _SECOND_MOMENT**self.count)) + _EPSILON
        scale = np.float32(-self.rate / (1 - _FIRST_MOMENT**self.count))
        return np.asarray(scale * mean / spread)


def _move(
    constants: dict[Value, Array],
    gradients: Mapping[Value, Array],
    op: Op,
    whitened: WhitenedLayer,
    adam: _Adam,
) -> None:
    """One step of a layer's weights and bias."""
    weights = op.inputs[1]
    bias = op.inputs[2] if len(op.inputs) > 2 and op.inputs[2] in gradients else None
    own, shift = whitened.gradients(gradients[weights], gradients[bias] if bias else None)
    moved = adam.step(weights, own)
    shifted = adam.step(bias, shift) if bias is not None and shift is not None else None
    step, bias_step = whitened.steps(moved, shifted)
    constants[weights] = constants[weights] + step
    if bias is not None and bias_step is not None:
        constants[bias] = constants[bias] + bias_step


def _extent(layers: tuple[Op, ...], options: FitOptions, num_samples: int) -> tuple[int, int]:
    """Samples at a time, and steps."""
    macs, elements = 0, 0
    for op in layers:
        rows = op.inputs[1].type.num_elements // op.result.type.dims[-1]
        macs += op.result.type.num_elements * rows
        elements += op.result.type.num_elements * 3
        elements += op.result.type.num_elements // op.result.type.dims[-1] * rows
    batch = max(1, min(_BATCH, _MAX_BATCH_BYTES // (4 * max(elements, 1))))
    affordable = options.num_macs // (max(macs, 1) * batch)
    seen = options.max_rounds * num_samples // batch
    return batch, int(max(1, min(options.max_steps, affordable, seen)))


def _kept_samples(data: CalibrationData) -> Array:
    """Samples at even distances, all of them if memory allows: f32[samples, ...]."""
    (value,) = data.inputs
    every = max(1, -(-data.num_samples * value.type.size_bytes // _MAX_SAMPLE_BYTES))
    kept = [s[value.name] for number, s in enumerate(data.samples()) if number % every == 0]
    return np.concatenate(kept)
