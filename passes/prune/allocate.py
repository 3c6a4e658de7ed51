"""Divides a budget of zeros among layers by their sensitivity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The shares of zeros at which a layer's error is measured.
LEVELS = (0.0, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The share of an output's power that is lost at each of some levels, the first of them 0.

    Of a layer with so many weights, or of channels that go together.
    """

    name: str
    num_weights: int
    errors: tuple[float, ...]
    levels: tuple[float, ...] = LEVELS


def allocate(
    layers: Sequence[Sensitivity], sparsity: float, start: Mapping[str, int] | None = None
) -> Mapping[str, float]:
    """The share of zeros of each layer, by name: together `sparsity` of all weights.

    Steps are taken where a weight costs the least error; only the last is taken in part. Optimal
    for convex errors up to that part.
    start: the levels that layers have at least, by name; they may be more than `sparsity` alone.
    """
    level = dict.fromkeys((layer.name for layer in layers), 0) | dict(start or {})
    shares = {layer.name: layer.levels[level[layer.name]] for layer in layers}
    wanted = sum((sparsity - shares[layer.name]) * layer.num_weights for layer in layers)
    while wanted > 0:
        steps = [step for layer in layers for step in _steps(layer, level[layer.name])]
        if not steps:
            break
        _, name, number, gained = min(steps)
        if gained > wanted:
            size = next(layer.num_weights for layer in layers if layer.name == name)
            shares[name] += wanted / size
            break
        wanted -= gained
        level[name] = number
        shares[name] = next(layer.levels[number] for layer in layers if layer.name == name)
    return shares


def _steps(layer: Sensitivity, level: int) -> list[tuple[float, str, int, float]]:
    """(error for each weight, name, level, weights) of every higher level."""
    found = []
    for number in range(level + 1, len(layer.levels)):
        gained = (layer.levels[number] - layer.levels[level]) * layer.num_weights
        cost = (layer.errors[number] - layer.errors[level]) / gained
        found.append((cost, layer.name, number, gained))
    return found
