"""Batches of samples for fitting: in random order, some of them changed.

What is wanted is what the original network gives, so that changed samples are as good as others:
mixtures of two (Zhang et al., mixup, 2018; Beyer et al., A Good Teacher is Patient and Consistent,
2022), parts of two side by side (after Yun et al., CutMix, 2019), and maps moved a little.
"""

import numpy as np

from lepton_cc.ir.tensor import Array

# Axes of maps of so many positions or more are moved, by up to one in so many.
_FEWEST_POSITIONS, _MOST_MOVED = 16, 8
# Of the batches of maps so many are mixed by cuts: a part of one sample, the rest of the other.
_CUT = 0.5


class DrawnSamples:
    """Draws from samples [N, ...]; with the same seed the same ones.

    mixed, moved: shares of the samples that are mixed with another one, and that are moved, in the
    long run: none are in the first round, half as many in the second, two thirds in the third.
    """

    def __init__(self, samples: Array, chosen: Array, mixed: float, moved: float) -> None:
        self._samples, self._chosen = samples, chosen
        self._mixed, self._moved = mixed, moved
        self._random = np.random.default_rng(0)
        self._order = np.zeros(0, np.int64)
        self._num_drawn = 0

    def batch(self, count: int) -> Array:
        """The next samples; every one comes before any comes again."""
        rounds = self._num_drawn // len(self._chosen)
        self._num_drawn += count
        again = rounds / (rounds + 1)
        drawn = self._move(self._next(count), self._moved * again)
        if self._mixed and rounds:
            others = self._move(self._next(count), self._moved * again)
            weights = self._weights(drawn.shape, self._mixed * again)
            drawn = drawn * weights + others * (1 - weights)
        return drawn

    def _weights(self, shape: tuple[int, ...], mixed: float) -> Array:
        """What counts of the first of two samples: a share of all of it, or a part of a map."""
        share = self._random.uniform(0.0, 1.0, shape[0])
        share[self._random.uniform(size=shape[0]) >= mixed] = 1.0
        share = share.reshape(-1, *[1] * (len(shape) - 1))
        axes = _long_axes(shape)
        if axes and self._random.uniform() < _CUT:
            axis = axes[self._random.integers(len(axes))]
            places = np.arange(shape[axis]).reshape(-1, *[1] * (len(shape) - axis - 1))
            return np.asarray(places < share * shape[axis], np.float32)
        return share.astype(np.float32)

    def _next(self, count: int) -> Array:
        while len(self._order) < count:
            self._order = np.concatenate([self._order, self._random.permutation(self._chosen)])
        places, self._order = self._order[:count], self._order[count:]
        return np.asarray(self._samples[places])

    def _move(self, drawn: Array, moved: float) -> Array:
        """Some of the samples, moved along the long axes of maps; edges are repeated."""
        if not moved:
            return drawn
        for axis in _long_axes(drawn.shape):
            size = drawn.shape[axis]
            most = size // _MOST_MOVED
            steps = self._random.integers(-most, most + 1, len(drawn))
            steps[self._random.uniform(size=len(drawn)) >= moved] = 0
            for number, step in enumerate(steps.tolist()):
                places = np.clip(np.arange(size) + step, 0, size - 1)
                drawn[number] = drawn[number].take(places, axis - 1)
        return drawn


def _long_axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of maps [N, ...] along which samples can be moved and cut; others have none."""
    return [n for n, size in enumerate(shape) if n and size >= _FEWEST_POSITIONS and len(shape) > 3]
