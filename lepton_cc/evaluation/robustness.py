"""Inputs made harder: random noise, and steps against the label without the model's gradient.

The attack is like FGSM (Goodfellow et al., 2015), but its gradient is an average of finite
differences along random directions (simultaneous perturbation, Spall, 1992), because integer code
has none. It is weaker than one with gradients: a model that withstands it is not proven robust.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.tensor import Array

Arrays = Mapping[str, Array]
_SMALLEST_PROBABILITY = 1 / 512


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How strong, in standard deviations of each input over the samples.

    noise: of the Gaussian noise; step: of the attack, and of its differences; num_directions of
    which the gradient is averaged; num_labels that are tried, 0: none.

    Raises:
        UsageError: noise or seed are negative, the step is not positive, or one is not finite.
    """

    noise: float = 0.25
    step: float = 0.1
    num_directions: int = 32
    num_labels: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf:
            raise UsageError(f"noise of {self.noise:g} standard deviations is none")
        if not 0 < self.step < math.inf:
            raise UsageError(f"an attack by {self.step:g} standard deviations is none")
        if self.seed < 0:
            raise UsageError(f"seeds are not negative: {self.seed}")


@dataclass(frozen=True, slots=True)
class Spread:
    """What an input's elements are like: standard deviation, least and largest."""

    deviation: float
    low: float
    high: float


def spread(arrays: list[Array]) -> Spread:
    """Of one input over all samples."""
    wide = np.concatenate([array.reshape(-1) for array in arrays]).astype(np.float64)
    return Spread(float(wide.std()), float(wide.min(initial=0)), float(wide.max(initial=0)))


def with_noise(
    sample: Arrays, spreads: Mapping[str, Spread], by: Perturbation, generator: np.random.Generator
) -> dict[str, Array]:
    """The sample with Gaussian noise on its floats, kept in the range of the data."""
    noisy: dict[str, Array] = {}
    for name, array in sample.items():
        noise = generator.standard_normal(array.shape) * spreads[name].deviation * by.noise
        noisy[name] = _moved(array, noise, spreads[name])
    return noisy


def attacked(
    run: Callable[[Arrays], Array],
    sample: Arrays,
    label: int,
    spreads: Mapping[str, Spread],
    by: Perturbation,
    generator: np.random.Generator,
) -> dict[str, Array]:
    """The sample one step along the sign of the estimated gradient of the label's margin."""
    total = {name: np.zeros(array.shape) for name, array in sample.items()}
    for _ in range(by.num_directions):
        ways = {n: generator.choice((-1.0, 1.0), a.shape) for n, a in sample.items()}
        above = margin(run(_stepped(sample, ways, spreads, by.step)), label)
        opposite = {name: -way for name, way in ways.items()}
        below = margin(run(_stepped(sample, opposite, spreads, by.step)), label)
        for name, way in ways.items():
            total[name] += (above - below) * way
    signs = {name: np.sign(gradient) for name, gradient in total.items()}
    return _stepped(sample, signs, spreads, by.step)


def _stepped(
    sample: Arrays, ways: Arrays, spreads: Mapping[str, Spread], step: float
) -> dict[str, Array]:
    return {
        name: _moved(array, ways[name] * spreads[name].deviation * step, spreads[name])
        for name, array in sample.items()
    }


def _moved(array: Array, by: Array, limits: Spread) -> Array:
    if array.dtype.kind != "f":
        return array
    moved = np.clip(array.astype(np.float64) + by, limits.low, limits.high)
    return np.asarray(moved.astype(array.dtype))


def margin(output: Array, label: int) -> float:
    """How far another class is above the label's; of probabilities, of their logarithms."""
    flat = output.reshape(-1).astype(np.float64)
    if flat.min() >= 0 and abs(float(flat.sum()) - 1) < 0.1:
        flat = np.log(flat + _SMALLEST_PROBABILITY)
    others = np.delete(flat, label)
    return float(others.max() - flat[label])
