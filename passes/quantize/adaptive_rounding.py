"""Whether each weight is rounded up or down, learned for the least error of the layer (AdaRound).

Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, 2020: a soft rounding
h(V) in [0, 1] is optimized with Adam, and a term that grows drives it to 0 or 1. The layer's
squared error is a quadratic form of the weights' errors, so gradients are exact, over all samples
at once, and nothing is drawn at random.
"""

import numpy as np

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.column_solve import steps_of_rows

_NUM_STEPS = 1500
_RATE = 0.02
_WARM_UP = 0.2
_WEIGHT = 0.02
# The stretched sigmoid, section 3.2.
_LOW, _HIGH = -0.1, 1.1
_FIRST_BETA, _LAST_BETA = 20.0, 2.0
_DECAYS = (0.9, 0.999)


def round_adaptively(
    weights: Array,
    gram: Array,
    scales: Array,
    bounds: tuple[int, int],
    kept: Array | None = None,
) -> Array:
    """Integers [G, K, O] within `bounds` for weights [G, K, O] in steps of `scales`.

    scales: [G, O], or [G, K, O]. `gram` [G, K, K] is the mean of x x^T of what they are multiplied
    with. Weights that are not `kept` (bool[G, K, O]) are 0.
    """
    sizes = steps_of_rows(scales, weights)
    steps = weights / sizes
    floors = np.floor(steps)
    fractions = np.clip((steps - floors - _LOW) / (_HIGH - _LOW), 1e-4, 1 - 1e-4)
    logits = np.log(fractions / (1 - fractions)).astype(np.float32)
    low, high = bounds
    floor32, target = floors.astype(np.float32), steps.astype(np.float32)
    mean_square = np.einsum("gkk->gk", gram).mean(axis=1)
    form = (gram / np.maximum(mean_square, 1e-30)[:, None, None]).astype(np.float32)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, _NUM_STEPS + 1):
        sigmoid = 1 / (1 + np.exp(-logits))
        stretched = sigmoid * (_HIGH - _LOW) + _LOW
        soft = np.clip(stretched, 0, 1)
        values = floor32 + soft
        inside = (stretched > 0) & (stretched < 1) & (values >= low) & (values <= high)
        errors = np.clip(values, low, high) - target
        if kept is not None:
            inside &= kept
            errors *= kept
        gradient = 2 * (form @ errors)
        progress = (step / _NUM_STEPS - _WARM_UP) / (1 - _WARM_UP)
        if progress > 0:
            beta = _LAST_BETA + (_FIRST_BETA - _LAST_BETA) * (1 + np.cos(np.pi * progress)) / 2
            centered = 2 * soft - 1
            gradient -= _WEIGHT * 2 * beta * np.sign(centered) * np.abs(centered) ** (beta - 1)
        gradient *= inside * (sigmoid * (1 - sigmoid) * (_HIGH - _LOW))
        first = _DECAYS[0] * first + (1 - _DECAYS[0]) * gradient
        second = _DECAYS[1] * second + (1 - _DECAYS[1]) * gradient * gradient
        corrected = first / (1 - _DECAYS[0] ** step)
        spread = np.sqrt(second / (1 - _DECAYS[1] ** step)) + np.float32(1e-8)
        logits -= np.float32(_RATE) * corrected / spread
    up = logits >= 0
    integers = np.clip(floors + up, low, high)
    return np.asarray(integers if kept is None else integers * kept)
