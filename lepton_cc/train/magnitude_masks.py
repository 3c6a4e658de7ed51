"""Gradual pruning by magnitude: how many weights are gone after so many steps, and which.

The share grows as 1 - (1 - t)^3 (Zhu and Gupta, 2017). Layers share the budget by their scores: the
square of a weight over the sum of all squares in its layer that are not smaller (LAMP, Lee et al.,
2021), so that no layer vanishes.
"""

from collections.abc import Sequence

import torch

# How often masks are made anew on the way; each is made of what the last one left.
_NUM_UPDATES = 50


def is_update(step: int, steps: int) -> bool:
    """Whether masks are made anew after the `step`-th of `steps` optimizer steps."""
    return step <= steps and (step == steps or step % max(steps // _NUM_UPDATES, 1) == 0)


def share_after(step: int, steps: int, ratio: float) -> float:
    """The share of weights that is gone after a step."""
    progress = min(step / steps, 1.0)
    return ratio * (1.0 - (1.0 - progress) ** 3)


def masks(weights: Sequence[torch.Tensor], share: float) -> list[torch.Tensor]:
    """1 for the weights that stay, 0 for the given share of all of them."""
    scores = [_scores(one.detach()) for one in weights]
    every = torch.cat([one.reshape(-1) for one in scores])
    num_gone = round(share * every.numel())
    if num_gone == 0:
        return [torch.ones(one.shape) for one in scores]
    # A sort that keeps the order of equal scores: zeros that are gone stay the first to go.
    order = torch.argsort(every, stable=True)
    keep = torch.ones(every.shape)
    keep[order[:num_gone]] = 0.0
    parts = torch.split(keep, [one.numel() for one in scores])
    return [part.reshape(one.shape) for part, one in zip(parts, scores, strict=True)]


def _scores(weights: torch.Tensor) -> torch.Tensor:
    squares = torch.square(weights.to(torch.float64)).reshape(-1)
    ordered, order = torch.sort(squares, stable=True)
    not_smaller = torch.flip(torch.cumsum(torch.flip(ordered, [0]), 0), [0])
    scores = torch.zeros_like(squares)
    scores[order] = torch.where(not_smaller > 0, ordered / not_smaller, 0.0)
    return scores.reshape(weights.shape)
