"""Gradient descent on one block: its weights are moved until it gives what it should.

Kingma and Ba, Adam (2015), with steps relative to the size of each array, falling like a cosine. A
part of the samples is held out: what does not help there is not taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.reconstruct.block import Block

_FIRST_MOMENT, _SECOND_MOMENT, _EPSILON = 0.9, 0.999, 1e-12
# One sample of so many judges, the others teach.
_HELD_OUT = 8
_NUM_CHECKS = 8


@dataclass(frozen=True, slots=True)
class Descent:
    """How long, with how many samples at a time, and how far in a step, as a share of an array."""

    num_steps: int = 240
    batch: int = 32
    rate: float = 4e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class BlockFit:
    """Arrays of what was trained, and the shares of power that held-out samples miss."""

    arrays: Mapping[Value, Array]
    error_before: float
    error: float


def fit_block(block: Block, x: Array, y: Array, descent: Descent) -> BlockFit:
    """Fits a block to give y for x, samples along the first dimension; zeros stay zeros."""
    judges = np.arange(len(x)) % _HELD_OUT == _HELD_OUT - 1
    if not judges.any():
        judges[:] = True
    taught = np.nonzero(~judges)[0] if not judges.all() else np.arange(len(x))
    current = {value: block.constants[value].astype(np.float32) for value in block.trained}
    state = _Adam(current, descent)
    power = max(float(np.sum(np.var(y, axis=0, dtype=np.float64))), 1e-30)
    random = np.random.default_rng(descent.seed)
    best, before = current, _missed(block, current, x[judges], y[judges]) / power
    least = before
    for step in range(descent.num_steps):
        chosen = np.sort(random.choice(taught, min(descent.batch, len(taught)), replace=False))
        values = block.forward(x[chosen], current)
        dy = (values[block.exit] - y[chosen]) * np.float32(2 / power / len(chosen))
        current = state.moved(current, block.backward(values, dy))
        if (step + 1) % max(descent.num_steps // _NUM_CHECKS, 1) == 0:
            error = _missed(block, current, x[judges], y[judges]) / power
            if error < least:
                best, least = current, error
    return BlockFit(best, before, least)


def _missed(block: Block, arrays: Mapping[Value, Array], x: Array, y: Array) -> float:
    """The squared error of a sample, on average."""
    missed = 0.0
    for start in range(0, len(x), 32):
        part = slice(start, start + 32)
        got = block.forward(x[part], arrays)[block.exit]
        missed += float(np.sum((got - y[part]) ** 2, dtype=np.float64))
    return missed / len(x)


class _Adam:
    """Running moments of gradients, and the steps that they lead to."""

    def __init__(self, arrays: Mapping[Value, Array], descent: Descent) -> None:
        self._descent = descent
        self._masks = {value: array != 0 for value, array in arrays.items()}
        self._rates = {value: self._rate(array) for value, array in arrays.items()}
        self._first = {value: np.zeros_like(array) for value, array in arrays.items()}
        self._second = {value: np.zeros_like(array) for value, array in arrays.items()}
        self._step = 0

    def _rate(self, array: Array) -> float:
        """Biases may be zero, all of them: they move as far as one would."""
        size = float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
        return self._descent.rate * (size if size > 0 else 1.0)

    def moved(
        self, arrays: Mapping[Value, Array], gradients: Mapping[Value, Array]
    ) -> dict[Value, Array]:
        """The arrays after one step; zeros of weights stay."""
        self._step += 1
        falling = 0.5 * (1 + np.cos(np.pi * self._step / self._descent.num_steps))
        found = {}
        for value, array in arrays.items():
            gradient = gradients[value]
            first = self._first[value]
            second = self._second[value]
            first += (1 - _FIRST_MOMENT) * (gradient - first)
            second += (1 - _SECOND_MOMENT) * (gradient * gradient - second)
            mean = first / (1 - _FIRST_MOMENT**self._step)
            spread = np.sqrt(second / (1 - _SECOND_MOMENT**self._step)) + _EPSILON
            step = np.float32(self._rates[value] * falling) * (mean / spread)
            kept = self._masks[value] if array.ndim > 1 else True
            found[value] = np.where(kept, array - step, array).astype(np.float32)
        return found
