"""Ranges from values that come one sample at a time, against NumPy on all of them at once."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_cc.calibration.histogram import NUM_BINS, Histogram
from lepton_cc.calibration.method import Method
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import Interval, activation_parameters

FINITE = st.floats(-(2.0**99), 2.0**99, width=32)


def _parts(values: Array, count: int = 7) -> list[Array]:
    return [np.asarray(part, np.float32) for part in np.array_split(values, count)]


def _interval(method: Method, parts: Sequence[Array]) -> Interval:
    observer = method.observer()
    for part in parts:
        observer.observe(part)
    return observer.interval()


def _normal(count: int = 20000) -> Array:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def _squared_error(values: Array, interval: Interval) -> float:
    by = activation_parameters(interval)
    steps = np.clip(np.rint(values / by.scale) + by.zero_point, -128, 127) - by.zero_point
    return float(np.sum((steps.astype(np.float64) * float(by.scale) - values) ** 2))


def test_min_max_is_numpys() -> None:
    values = _normal()
    assert _interval(Method.MIN_MAX, _parts(values)) == Interval(values.min(), values.max())


@given(st.lists(st.lists(FINITE, max_size=20), max_size=6))
def test_a_histogram_counts_every_value_in_its_bin(batches: list[list[float]]) -> None:
    histogram = Histogram()
    arrays = [np.asarray(batch, np.float32) for batch in batches]
    for array in arrays:
        histogram.add(array)
    values = np.concatenate([np.zeros(0), *arrays]).astype(np.float64)
    values = values[values != 0]
    assert histogram.num_values == values.size
    numbers = np.floor(values / histogram.width).astype(np.int64) - histogram.first
    np.testing.assert_array_equal(np.bincount(numbers, minlength=NUM_BINS), histogram.counts)


@given(st.lists(st.lists(FINITE, min_size=1, max_size=9), min_size=1, max_size=5), st.randoms())
def test_a_histogram_does_not_depend_on_order(batches: list[list[float]], random: object) -> None:
    forth, back = Histogram(), Histogram()
    for batch in batches:
        forth.add(np.asarray(batch, np.float32))
    for batch in reversed(batches):
        back.add(np.asarray(batch, np.float32))
    assert (forth.first, forth.width, forth.interval) == (back.first, back.width, back.interval)
    np.testing.assert_array_equal(forth.counts, back.counts)


@pytest.mark.parametrize("method", Method)
def test_ranges_do_not_depend_on_how_samples_are_cut(method: Method) -> None:
    values = _normal(5000)
    assert _interval(method, _parts(values, 3)) == _interval(method, _parts(values[::-1], 11))


def test_percentile_is_numpys() -> None:
    values = np.random.default_rng(1).standard_normal(400_000).astype(np.float32)
    found = _interval(Method.PERCENTILE, _parts(values))
    low, high = np.percentile(values, [0.001, 99.999])
    # Four values lie beyond each, some bins apart.
    assert found.low == pytest.approx(float(low), abs=0.2)
    assert found.high == pytest.approx(float(high), abs=0.2)
    share = np.mean((values < found.low) | (values > found.high))
    assert 0 < share <= 2.5e-5


def test_least_squares_beat_the_whole_range_and_near_ones() -> None:
    values = np.append(_normal(), np.float32(40))
    found = _interval(Method.MSE, _parts(values))
    best = _squared_error(values, found)
    assert best < _squared_error(values, Interval(values.min(), values.max()))
    for factor in (0.8, 1.25):
        assert best < _squared_error(values, Interval(found.low, found.high * factor))


def test_entropy_cuts_off_what_is_rare() -> None:
    values = np.append(_normal(200_000), np.float32(60))
    found = _interval(Method.ENTROPY, _parts(values))
    assert 3.0 < found.high < 30.0
    assert -6.0 < found.low < -3.0


@pytest.mark.parametrize("method", Method)
def test_one_sided_constant_and_absent_values(method: Method) -> None:
    positive = np.abs(_normal(1000)) + np.float32(0.5)
    found = _interval(method, [positive]).with_zero()
    assert found.low == 0
    assert 1.0 < found.high <= positive.max()
    seven = _interval(method, [np.full(10, 7, np.float32)]).with_zero()
    assert seven.high == pytest.approx(7, rel=0.01)
    assert _interval(method, [np.zeros(10, np.float32)]) == Interval(0.0, 0.0)
    assert _interval(method, []) == Interval(0.0, 0.0)


@given(FINITE, FINITE)
def test_parameters_represent_zero_and_both_ends(first: float, second: float) -> None:
    interval = Interval(min(first, second), max(first, second)).with_zero()
    by = activation_parameters(interval)
    assert by.scale > 0
    assert -128 <= by.zero_point <= 127
    if interval.high > interval.low:
        for bound in (interval.low, interval.high):
            integer = np.clip(np.rint(bound / float(by.scale)) + by.zero_point, -128, 127)
            error = abs((integer - by.zero_point) * float(by.scale) - bound)
            assert error <= 1.01 * float(by.scale)
