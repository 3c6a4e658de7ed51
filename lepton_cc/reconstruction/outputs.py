"""Reconstruction of a whole network: all weights together, by the gradient of its outputs' error.

Nothing is labelled: what the original network gives for the samples is what is wanted. Weights that
are zero stay zero. It comes after layers were solved for one by one, which is where it starts from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import with_constants
from lepton_cc.passes.reconstruct.block import Block
from lepton_cc.passes.reconstruct.whole import refusal_of_whole, whole_block
from lepton_cc.reconstruction.drawn_samples import DrawnSamples
from lepton_cc.reconstruction.whole_fit import HELD_OUT, WholeFit, fitted_layers, hints_of

# Bytes of samples that are kept to be drawn from.
_MAX_SAMPLE_BYTES = 128 << 20
_BATCH = 32
# Rates grow with the deviations that an output misses, up to so many.
_MOST_MISSED = 0.2


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How long and how fast.

    num_macs: of the forward runs of all steps together. max_steps: but no more steps than that.
    max_rounds: but no sample more often than that. rate: of the first steps, in deviations of a
    layer's outputs, for each of the model's that the output misses at first, up to a fifth of one:
    what is nearly right moves little. hints: what the errors of values inside count together, that
    of the output 1.
    mixed, moved: shares of the samples that are mixed with another one, and that are moved by a few
    positions, when every one has come often.
    """

    num_macs: int = 6 * 10**11
    max_steps: int = 3000
    max_rounds: int = 100
    rate: float = 8e-3
    hints: float = 1.0
    mixed: float = 1.0
    moved: float = 1.0


@dataclass(frozen=True, slots=True)
class OutputFit:
    """The fitted graph and the shares of its outputs' variance that were missed, and are.

    They are of samples that were not fitted to. Without a fit they are None, and `reason` is said.
    `unfitted` is the graph as it came.
    """

    graph: Graph
    unfitted: Graph
    error_before: float | None
    error: float | None
    num_steps: int
    reason: str = ""

    @property
    def words(self) -> str:
        """What to add to the title of a table; empty if nothing was measured."""
        if self.error_before is None or self.error is None:
            return ""
        return f", error of the output {self.error_before:.2%}, fitted {self.error:.2%}"

    @property
    def report(self) -> Mapping[str, object]:
        """For JSON."""
        return {
            "num_steps": self.num_steps,
            "error_before": self.error_before,
            "error": self.error,
            "reason": self.reason,
        }


def fit_outputs(
    original: Graph,
    compressed: Graph,
    data: CalibrationData,
    options: FitOptions,
    kept: Mapping[str, Array] | None = None,
) -> OutputFit:
    """Fits all weights and biases of a prepared float graph to what the original one gives.

    Adam (Kingma and Ba, 2015) in whitened coordinates, on the mean squared error before a final
    softmax and, as hints (Romero et al., FitNets, 2015), of what layers read inside; the rate falls
    as a cosine. Memory is bounded, however many samples there are.
    kept: by the names of values that have fewer channels now, those of the original that they are.
    """
    reason = refusal_of_whole(original) or refusal_of_whole(compressed)
    if reason:
        return OutputFit(compressed, compressed, None, None, 0, reason)
    teacher, student = whole_block(original), whole_block(compressed)
    samples = _kept_samples(data)
    if len(samples) < 2 * HELD_OUT:
        reason = f"{len(samples)} samples are too few"
        return OutputFit(compressed, compressed, None, None, 0, reason)
    fit = WholeFit(teacher, student, samples, hints_of(teacher, student, kept or {}), options.hints)
    before = fit.error({})
    num_steps = _num_steps(student, options, len(samples))
    rate = options.rate * min(_MOST_MISSED, before**0.5)
    drawn = DrawnSamples(samples, fit.free, options.mixed, options.moved)
    constants = fit.descend(drawn, _BATCH, num_steps, rate)
    after = fit.error(constants)
    if after >= before:
        reason = "it was no better on other samples"
        return OutputFit(compressed, compressed, before, before, 0, reason)
    fitted = with_constants(compressed, constants)
    return OutputFit(fitted, compressed, before, after, num_steps)


def _num_steps(student: Block, options: FitOptions, num_samples: int) -> int:
    macs = 0
    for op in fitted_layers(student).values():
        rows = op.inputs[1].type.num_elements // op.result.type.dims[-1]
        macs += op.result.type.num_elements * rows
    affordable = options.num_macs // (max(macs, 1) * _BATCH)
    seen = options.max_rounds * num_samples // _BATCH
    return int(max(1, min(options.max_steps, affordable, seen)))


def _kept_samples(data: CalibrationData) -> Array:
    """Samples at even distances, all of them if memory allows: f32[samples, ...]."""
    (value,) = data.inputs
    every = max(1, -(-data.num_samples * value.type.size_bytes // _MAX_SAMPLE_BYTES))
    kept = [s[value.name] for number, s in enumerate(data.samples()) if number % every == 0]
    return np.concatenate(kept)
