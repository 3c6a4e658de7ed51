"""Raised operators against ONNX Runtime, one by one; the benchmark draws a million outputs each."""

import numpy as np
import pytest

from benchmarks.compare_onnxruntime import ours, theirs
from benchmarks.quantized_operators import CASES, Byte

# Where ONNX Runtime's own forms disagree with one another, or it has the float form alone: the
# largest share of outputs that may be off by one.
OFF_BY_ONE = {
    "sub": 1e-4,
    "average pool 2x2": 0.25,
    "average pool 3x3, padded": 0.02,
    "softmax of 10": 0.1,
    "softmax of 1000": 0.01,
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("name", CASES)
def test_equals_onnxruntime(name: str, dtype: Byte) -> None:
    case = CASES[name](np.random.default_rng(len(name)), dtype)
    y = ours(case)
    qlinear, fused, unfused = theirs(case)
    for reference in (qlinear, fused):
        if reference is None:
            continue
        difference = np.abs(y.astype(int) - reference.astype(int))
        allowed = OFF_BY_ONE.get(name, 0.0)
        assert difference.max() <= (1 if allowed else 0)
        assert np.mean(difference) <= allowed
    apart = np.abs(y.astype(int) - unfused.astype(int))
    assert apart.max() <= 1
    assert np.mean(apart) <= OFF_BY_ONE.get(name, 2e-4)
