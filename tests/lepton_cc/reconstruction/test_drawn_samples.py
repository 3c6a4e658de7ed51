"""Batches of samples: all of them first, then changed ones."""

import numpy as np

from lepton_cc.reconstruction.drawn_samples import DrawnSamples

_SAMPLES = np.random.default_rng(0).normal(size=(20, 16, 3, 1)).astype(np.float32)
_CHOSEN = np.arange(0, 20, 2)


def test_samples_come_as_they_are_at_first_and_changed_more_and_more() -> None:
    drawn = DrawnSamples(_SAMPLES, _CHOSEN, mixed=1.0, moved=0.0)
    first = np.concatenate([drawn.batch(5), drawn.batch(5)])
    assert sorted(first[:, 0, 0, 0]) == sorted(_SAMPLES[_CHOSEN, 0, 0, 0])
    known = {x.tobytes() for x in _SAMPLES}
    unchanged = [sum(x.tobytes() in known for x in drawn.batch(10)) for _ in range(40)]
    assert 2 <= unchanged[0] <= 8
    assert sum(unchanged[-10:]) < 20


def test_batches_are_the_same_every_time() -> None:
    one, other = (DrawnSamples(_SAMPLES, _CHOSEN, mixed=0.5, moved=0.5) for _ in range(2))
    for _ in range(4):
        assert np.array_equal(one.batch(8), other.batch(8))


def test_maps_move_along_long_axes_and_repeat_their_edges() -> None:
    drawn = DrawnSamples(_SAMPLES, _CHOSEN, mixed=0.0, moved=1.0)
    drawn.batch(10)
    assert any(x.tobytes() not in {one.tobytes() for one in _SAMPLES} for x in drawn.batch(10))
    steps = range(-2, 3)
    possible = {
        x.take(np.clip(np.arange(16) + step, 0, 15), 0).tobytes()
        for x in _SAMPLES[_CHOSEN]
        for step in steps
    }
    assert all(x.tobytes() in possible for x in drawn.batch(10))


def test_mixtures_lie_between_two_samples() -> None:
    constant = np.arange(4, dtype=np.float32).repeat(6).reshape(4, 6)
    drawn = DrawnSamples(constant, np.arange(4), mixed=1.0, moved=1.0)
    drawn.batch(400)
    mixtures = drawn.batch(100)
    assert np.allclose(mixtures, mixtures[:, :1], atol=1e-6)
    assert mixtures.min() >= 0
    assert mixtures.max() <= 3
    assert len(np.unique(mixtures[:, 0])) > 50
