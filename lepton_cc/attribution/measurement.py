"""How far variants of a model are from the float one: noise of outputs, and the score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.attribution.variant_run import runner
from lepton_cc.calibration.judged_values import Judged, logits
from lepton_cc.evaluation.data import EvaluationData
from lepton_cc.evaluation.metric import Metric, record, score
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.verify.post_training import decibels

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Quality:
    """Noise over signal, the mean of all outputs and logits; the score, if there are labels."""

    noise: float
    score: float | None

    @property
    def decibels(self) -> float:
        """Signal over noise."""
        return decibels(1.0, self.noise)


class Measurement:
    """Runs variants of one float graph on samples, and on labelled data for a score."""

    def __init__(
        self,
        original: Graph,
        samples: Sequence[Arrays],
        evaluation: EvaluationData | None,
        metric: Metric,
    ) -> None:
        self._samples = samples
        self._evaluation = evaluation
        self._metric = metric
        run = self._runner(original)
        self._reference = [run(sample) for sample in samples]
        self.float_score = self._score(original, run)

    def of(self, graph: Graph) -> Quality:
        """Of a variant, against the original."""
        run = self._runner(graph)
        signal = np.zeros(len(self._reference[0]))
        noise = np.zeros_like(signal)
        for sample, reference in zip(self._samples, self._reference, strict=True):
            for number, (theirs, ours) in enumerate(zip(reference, run(sample), strict=True)):
                wide = theirs.astype(np.float64)
                signal[number] += float(np.sum(wide * wide))
                noise[number] += float(np.sum((ours.astype(np.float64) - wide) ** 2))
        ratios = noise / np.maximum(signal, np.finfo(np.float64).tiny)
        return Quality(float(ratios.mean()), self._score(graph, run))

    def _runner(self, graph: Graph) -> Callable[[Arrays], list[Array]]:
        num_runs = len(self._samples)
        if self._evaluation is not None:
            num_runs += self._evaluation.samples.num_samples
        # A softmax that is certain hides what is wrong before it.
        wanted = [*map(Judged, graph.outputs), *logits(graph)]
        run = runner(graph, [one.value for one in wanted], num_runs)

        def outputs(sample: Arrays) -> list[Array]:
            values = run(sample)
            return [one.of(values[one.value.name]) for one in wanted]

        return outputs

    def _score(self, graph: Graph, run: Callable[[Arrays], list[Array]]) -> float | None:
        data = self._evaluation
        if data is None or data.labels is None:
            return None
        first, per_label = graph.inputs[0].name, data.samples_per_label
        records = [
            record(self._metric, sample[first], run(sample)[0], data.labels[number // per_label])
            for number, sample in enumerate(data)
        ]
        return score(self._metric, records, data.labels, per_label)
