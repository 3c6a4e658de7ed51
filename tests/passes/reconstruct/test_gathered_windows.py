"""Windows gathered by kernel rows, against those gathered tap by tap."""

import numpy as np
import pytest

from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.reconstruct.gathered_windows import gathered, input_gradient
from lepton_cc.passes.reconstruct.window_gradients import scattered

_WINDOWS = (
    Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    Window((3, 2), (2, 1), (1, 1), (0, 1), (1, 0)),
    Window((2, 3), (1, 2), (2, 2), (1, 0), (2, 3)),
    Window((3, 3), (1, 1), (2, 1), (2, -1), (0, 2)),
    Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
    Window((1, 1), (2, 2), (1, 1), (0, 0), (0, 0)),
    Window((3,), (1,), (1,), (0,), (2,)),
)


def _image(window: Window) -> Array:
    random = np.random.default_rng(0)
    return random.normal(size=(2, *(7, 8)[: window.rank], 3)).astype(np.float32)


@pytest.mark.parametrize("window", _WINDOWS, ids=str)
def test_rows_are_the_taps_side_by_side(window: Window) -> None:
    x = _image(window)
    taps = [view.reshape(-1, 3) for _, view in window.taps(x, 0)]
    assert np.array_equal(gathered(window, x), np.concatenate(taps, axis=1))


@pytest.mark.parametrize("window", [w for w in _WINDOWS if set(w.strides) == {1}], ids=str)
def test_input_gradient_scatters_what_every_tap_gives_back(window: Window) -> None:
    x, random = _image(window), np.random.default_rng(1)
    weights = random.normal(size=(*window.size, 3, 4)).astype(np.float32)
    out = window.output_dims(x.shape[1:-1])
    dy = random.normal(size=(2, *out, 4)).astype(np.float32)
    taps = [dy @ one.T for one in weights.reshape(-1, 3, 4)]
    found = input_gradient(window, weights, dy, x.shape[1:-1])
    np.testing.assert_allclose(found, scattered(window, taps, x.shape), rtol=1e-4, atol=1e-5)
