"""Differences in steps: classes, flips, reals that are integers times a scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_cc.verify.steps import (
    STEP_CLASSES,
    StepTally,
    first_diverging,
    step_difference,
)


def bounds(name: str) -> tuple[int, int]:
    """The smallest and largest distance of a class, from its name."""
    if name.startswith(">"):
        return int(name[1:]) + 1, 255
    low, _, high = name.partition("-")
    return int(low), int(high or low)


@pytest.mark.parametrize("number", range(len(STEP_CLASSES)))
def test_each_distance_is_in_the_class_that_names_it(number: int) -> None:
    low, high = bounds(STEP_CLASSES[number])
    for distance in (low, high):
        got = np.array([-128 + distance], np.int16)
        found = step_difference("x", got, np.array([-128], np.int16))
        assert found.histogram[number] == 1
        assert sum(found.histogram) == 1
        assert found.max_steps == distance


def test_bytes_do_not_wrap() -> None:
    found = step_difference("x", np.array([127], np.int8), np.array([-128], np.int8))
    assert found.max_steps == 255


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(2.0**-20, 1024, width=32))
def test_reals_count_the_integers_that_they_stand_for(a: int, b: int, scale: float) -> None:
    step = np.float32(scale)
    lhs, rhs = np.array([a], np.float32) * step, np.array([b], np.float32) * step
    assert step_difference("x", lhs, rhs, scale=float(step)).max_steps == abs(a - b)


def test_reals_that_differ_at_all_are_a_step_apart() -> None:
    one = np.ones(1, np.float32)
    found = step_difference("x", np.nextafter(one, np.float32(2)), one, scale=0.5)
    assert found.max_steps == 1


def test_nan_is_far_from_all_but_itself() -> None:
    nan, one = np.array([np.nan], np.float32), np.ones(1, np.float32)
    assert step_difference("x", nan, nan, scale=0.1).num_different == 0
    assert step_difference("x", nan, one, scale=0.1).histogram[-1] == 1


def test_a_tally_adds_samples_and_keeps_the_order() -> None:
    tally = StepTally()
    zeros, far = np.zeros((2, 3), np.int8), np.array([[0, 0, 7], [0, 0, 0]], np.int8)
    for name, got in (("b", zeros), ("a", far), ("b", zeros), ("a", zeros)):
        tally.add(step_difference(name, got, zeros, nodes=(f"node_{name}",)))
    b, a = tally.differences()
    assert (b.name, b.num_different, b.num_elements) == ("b", 0, 12)
    assert (a.name, a.num_different, a.max_steps) == ("a", 1, 7)
    assert (a.argmax_flips, a.num_rows) == (1, 4)
    first = first_diverging(tally.differences())
    assert first is not None
    assert first.nodes == ("node_a",)
