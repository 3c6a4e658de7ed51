"""What pruning a layer alone costs: the error of its own output, and of the model's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.allocate import LEVELS, Sensitivity
from lepton_cc.passes.prune.contraction_weights import PrunableLayer
from lepton_cc.passes.prune.pattern import Pattern
from lepton_cc.passes.prune.second_order import prune_matrix, relative_error
from lepton_cc.passes.reconstruct.whole import outputs_of, refusal_of_whole, whole_block
from lepton_cc.pruning.reader_moments import read_moments
from lepton_cc.reconstruction.thinned import thinned

# The level at which errors are followed to the output, and the samples that are.
_FOLLOWED = 0.5
_NUM_FOLLOWED = 128


def measured_sensitivities(
    graph: Graph, layers: Sequence[PrunableLayer], data: CalibrationData, pattern: Pattern
) -> tuple[Sensitivity, ...]:
    """What is lost at each of `LEVELS` in one layer, the others being whole.

    Shares of the power of the model's output, if it can be run on many samples at once: errors of
    the layer's own output, times what one of them at half the weights does to the last. Else of the
    layer's.
    """
    moments = read_moments(graph, layers, data)
    found = []
    followed: dict[str, Array] = {}
    for layer in layers:
        hessian, matrices = moments[layer.name].hessian, layer.matrices
        errors = []
        for level in LEVELS:
            changed = solved_matrices(layer, matrices, hessian, pattern, level)
            error = relative_error(matrices, changed, hessian, has_bias=layer.bias is not None)
            errors.append(error)
            if level == _FOLLOWED:
                followed[layer.name] = changed
        found.append(Sensitivity(layer.name, layer.weights.size, tuple(errors)))
    gains = _gains(graph, layers, followed, data)
    return tuple(_weighted(one, gains) for one in found)


def _weighted(one: Sensitivity, gains: Mapping[str, float]) -> Sensitivity:
    own = one.errors[LEVELS.index(_FOLLOWED)]
    gain = gains[one.name] / own if one.name in gains and own > 0 else 1.0
    return replace(one, errors=tuple(gain * error for error in one.errors))


def _gains(
    graph: Graph,
    layers: Sequence[PrunableLayer],
    changed: Mapping[str, Array],
    data: CalibrationData,
) -> dict[str, float]:
    """The share of the power of the model's output that each changed layer alone loses."""
    if refusal_of_whole(graph):
        return {}
    block = whole_block(graph)
    name = block.entry.name
    samples = np.concatenate([one[name] for one in thinned(data, _NUM_FOLLOWED).samples()])
    reference = outputs_of(block, {}, samples)
    power = max(float(reference.var()), 1e-30)
    return {
        layer.name: float(
            np.mean(
                (outputs_of(block, layer.from_matrices(changed[layer.name]), samples) - reference)
                ** 2
            )
        )
        / power
        for layer in layers
    }


def solved_matrices(
    layer: PrunableLayer, matrices: Array, hessian: Array, pattern: Pattern, sparsity: float
) -> Array:
    """Matrices [groups, rows, columns] with a share of zeros in each, nearest to the given."""
    if sparsity == 0:
        return matrices
    return np.stack(
        [
            prune_matrix(one, moments, pattern, sparsity, layer.num_rows)
            for one, moments in zip(matrices, hessian, strict=True)
        ]
    )
