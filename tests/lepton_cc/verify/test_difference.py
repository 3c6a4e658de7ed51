"""Differences of arrays: their measures, and what counts as too far."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_cc.verify.difference import difference, merged


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_equal_arrays_do_not_differ() -> None:
    array = f32(0.0, -0.0, np.nan, np.inf, 1.5)
    found = difference("y", array, array.copy())
    assert (found.num_different, found.max_abs, found.max_ulp, found.is_within) == (0, 0, 0, True)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, max_value=2.0**100))
def test_one_ulp_is_the_next_float(value: float) -> None:
    one = f32(value)
    other = np.nextafter(one, np.float32(np.inf))
    found = difference("y", other, one)
    # Zero has two encodings, neighbours of each other and of the smallest numbers.
    assert found.max_ulp in ((1, 2) if value == 0 or other[0] == 0 else (1,))


@pytest.mark.parametrize(
    ("got", "reference", "within"),
    [
        (f32(1.0005), f32(1.0), True),
        (f32(1.01), f32(1.0), False),
        (f32(np.nan), f32(1.0), False),
        (f32(1.0), f32(np.inf), False),
        (np.array([4], np.int8), np.array([5], np.int8), True),
        (np.array([4], np.int8), np.array([6], np.int8), False),
        (np.array([0], np.uint8), np.array([255], np.uint8), False),
        (np.array([True]), np.array([False]), False),
        (np.array([1.0], np.float16), np.array([1.005], np.float16), True),
        (np.array([1.0], ml_dtypes.bfloat16), np.array([2.0], ml_dtypes.bfloat16), False),
        (np.array([2**63], np.uint64), np.array([0], np.uint64), False),
    ],
)
def test_what_is_too_far(got: np.ndarray, reference: np.ndarray, within: bool) -> None:
    assert difference("y", got, reference).is_within is within


def test_integer_steps_do_not_wrap() -> None:
    lowest, highest = np.array([-(2**63)]), np.array([2**63 - 1])
    assert difference("y", lowest, highest).max_ulp == 2**64 - 1


def test_flips_are_counted_by_row() -> None:
    found = difference("y", f32(1, 2, 3, 4).reshape(2, 2), f32(2, 1, 3, 4).reshape(2, 2))
    assert (found.argmax_flips, found.num_rows) == (1, 2)


def test_samples_add_up() -> None:
    one = difference("y", f32(1, 2), f32(1, 3))
    other = difference("y", f32(5, 2), f32(1, 2))
    both = merged(one, other)
    assert (both.num_elements, both.num_different, both.max_abs) == (4, 2, 4)


def test_empty_arrays() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert difference("y", empty, empty).num_elements == 0
