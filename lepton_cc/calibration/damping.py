"""How much layers are pulled towards their own weights: by samples that they were not fitted to.

Little damping lets the few calibration samples decide where weights go, much of it leaves them
where they are and makes up for nothing. The model is rounded with each candidate on three quarters
of the samples, and its outputs are compared with the float model's on the rest.
"""

from dataclasses import replace

import numpy as np

from lepton_cc.calibration.data import CalibrationData, Fold, Samples
from lepton_cc.calibration.float_run import InnerRun
from lepton_cc.calibration.judged_values import judged
from lepton_cc.calibration.rounded_layers import ReferenceRuns, round_layers, staged_run
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.layer_rounding import DEFAULT_DAMPING, Rounding

_CANDIDATES = (0.03, 0.1, 0.3)
_FEWEST_SAMPLES = 32


def chosen_damping(
    graph: Graph,
    data: CalibrationData,
    insertion: InsertQuantization,
    reference: ReferenceRuns,
    *,
    correct_bias: bool,
) -> float:
    """The candidate whose outputs err least on samples held out; the default if there are few.

    reference: of the same graph and insertion.
    """
    if data.num_samples < _FEWEST_SAMPLES:
        return DEFAULT_DAMPING
    fitted, held_out = Fold(data, is_held_out=False), Fold(data, is_held_out=True)
    errors = []
    for damping in _CANDIDATES:
        integer_run = staged_run(insertion)
        rounded = round_layers(
            graph,
            fitted,
            insertion,
            Rounding.GPTQ,
            reference,
            integer_run,
            correct_bias=correct_bias,
            damping=damping,
        )
        changed = replace(insertion, rounded=rounded.layers).run(graph, Statistics())
        wanted = [one.value for one in judged(changed)]
        changed_run = integer_run.extend(changed, wanted, ())
        errors.append(output_error(graph, reference.outputs, changed, changed_run, held_out))
    return _CANDIDATES[int(np.argmin(errors))]


def output_error(
    original: Graph, float_run: InnerRun, changed: Graph, changed_run: InnerRun, data: Samples
) -> float:
    """The squared error of the judged values by their square, the mean of all of them.

    Each run gives those of its graph.
    """
    pairs = tuple(zip(judged(original), judged(changed), strict=True))
    powers = np.zeros((2, len(pairs)))
    for sample in data.samples():
        expected, got = float_run(sample), changed_run(sample)
        for number, (one, other) in enumerate(pairs):
            reals, integers = (
                one.of(array).astype(np.float64)
                for array in (expected[one.value.name], got[other.value.name])
            )
            powers[0, number] += np.sum((integers - reals) ** 2)
            powers[1, number] += np.sum(reals * reals)
    return float(np.mean(powers[0] / np.maximum(powers[1], 1e-30)))
