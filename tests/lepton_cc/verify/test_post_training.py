"""Measures of quality: signal to noise, steps, flips."""

import numpy as np
import pytest

from lepton_cc.verify.post_training import decibels, output_qualities


def test_quality_is_over_all_samples() -> None:
    reference = [np.array([[1.0, 2.0]], np.float32), np.array([[4.0, 3.0]], np.float32)]
    got = [np.array([[1.0, 2.5]], np.float32), np.array([[3.0, 3.5]], np.float32)]
    (one,) = output_qualities([{"y": a} for a in got], [{"y": a} for a in reference], {"y": 0.5})
    assert one.sqnr_decibels == pytest.approx(10 * np.log10(30 / 1.5))
    assert one.max_abs == 1.0
    assert one.steps.max_steps == 2
    assert (one.steps.argmax_flips, one.steps.num_rows) == (1, 2)


def test_decibels_of_nothing() -> None:
    assert decibels(1.0, 0.0) == float("inf")
    assert decibels(0.0, 1.0) == float("-inf")
