"""Batches of samples for fitting: in random order, some of them changed.

What is wanted is what the original network gives, so that changed samples are as good as others:
mixtures of two (Zhang et al., mixup, 2018; Beyer et al., A Good Teacher is Patient and Consistent,
2022), and maps moved by a few positions.
"""

import numpy as np

from lepton_cc.ir.tensor import Array

# Axes of maps of so many positions or more are moved, by up to one in so many.
_FEWEST_POSITIONS, _MOST_MOVED = 16, 8


class DrawnSamples:
    """Draws from samples [N, ...]; with the same seed the same ones.

    mixed, moved: shares of the samples that are mixed with another one, and that are moved. None
    are before every one was drawn once.
    """

    def __init__(self, samples: Array, chosen: Array, mixed: float, moved: float) -> None:
        self._samples, self._chosen = samples, chosen
        self._mixed, self._moved = mixed, moved
        self._random = np.random.default_rng(0)
        self._order = np.zeros(0, np.int64)
        self._num_fresh = len(chosen)

    def batch(self, count: int) -> Array:
        """The next samples; every one comes before any comes again."""
        drawn = self._next(count)
        if self._num_fresh > 0:
            self._num_fresh -= count
            return drawn
        drawn = self._move(drawn)
        if self._mixed:
            others = self._move(self._next(count))
            share = self._random.uniform(0.0, 1.0, count)
            share[self._random.uniform(size=count) >= self._mixed] = 1.0
            weight = share.astype(np.float32).reshape(-1, *[1] * (drawn.ndim - 1))
            drawn = drawn * weight + others * (1 - weight)
        return drawn

    def _next(self, count: int) -> Array:
        while len(self._order) < count:
            self._order = np.concatenate([self._order, self._random.permutation(self._chosen)])
        places, self._order = self._order[:count], self._order[count:]
        return np.asarray(self._samples[places])

    def _move(self, drawn: Array) -> Array:
        """Some of the samples, moved along the long axes of maps; edges are repeated."""
        if drawn.ndim < 4 or not self._moved:
            return drawn
        for axis, size in enumerate(drawn.shape[1:]):
            most = size // _MOST_MOVED if size >= _FEWEST_POSITIONS else 0
            if not most:
                continue
            steps = self._random.integers(-most, most + 1, len(drawn))
            steps[self._random.uniform(size=len(drawn)) >= self._moved] = 0
            for number, step in enumerate(steps.tolist()):
                places = np.clip(np.arange(size) + step, 0, size - 1)
                drawn[number] = drawn[number].take(places, axis)
        return drawn
