"""`distill`: an ONNX model and samples in; a trained compressed model and its report out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lepton_cc.compression.compress import compress
from lepton_cc.compression.low_rank_stage import LowRankStage
from lepton_cc.compression.result import Compression
from lepton_cc.compression.stage import Stage
from lepton_cc.evaluation.data import ArrayForm, formed
from lepton_cc.frontend.model_source import AnyModel, model_source
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.tensor import Array
from lepton_cc.low_rank.options import LowRankOptions
from lepton_cc.passes.prune.pattern import UNSTRUCTURED, Pattern
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.sample_inputs import read_inputs
from lepton_cc.train.augmentation import Augmentation
from lepton_cc.train.distill_stage import DistillStage
from lepton_cc.train.distillation import Schedule

# Of the power of a layer's outputs, when it is split.
_MOST_MISSED = 0.9

TrainingSource = str | os.PathLike[str] | Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class DistillOptions:
    """What becomes of the model, and how it is trained.

    low_rank: the share of the multiply-adds that thinner layers save, before anything else; 0: none
    are split. student, sparsity, pattern, scheme: see `DistillStage`. labels: the name of the
    array with classes; "" trains on the original's outputs alone. form: how arrays become inputs.
    """

    student: float | Path | None = None
    low_rank: float = 0.0
    sparsity: float = 0.0
    pattern: Pattern = UNSTRUCTURED
    scheme: WeightScheme | None = None
    labels: str = ""
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    form: ArrayForm = field(default_factory=ArrayForm)


def distill(
    model: AnyModel,
    data: TrainingSource,
    options: DistillOptions,
    *,
    dims: Mapping[str, int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Compression:
    """Trains a compressed student of a float model on samples: an `.npz`, or arrays by name.

    Raises:
        Refused: the model cannot be read, is quantized already or cannot be trained, or the data do
            not fit; with all reasons.
        UsageError: an option makes no sense.
    """
    if not 0 <= options.sparsity < 1:
        raise UsageError(f"sparsity={options.sparsity} is not between 0 and 1")
    if not 0 <= options.low_rank < 1:
        raise UsageError(f"low_rank={options.low_rank} is not between 0 and 1")
    if options.low_rank and isinstance(options.student, Path):
        raise UsageError("a student of its own is not split: give low_rank or an ONNX file")
    options.augmentation.check()
    arrays = dict(data) if isinstance(data, Mapping) else read_inputs([str(Path(data))])
    labels = arrays.pop(options.labels, None) if options.labels else None
    if options.labels and labels is None:
        raise refuse(Code.BAD_INPUT_DATA, f"labels {options.labels!r} are not in the data")
    given, _ = formed(arrays, options.form)
    training = DistillStage(
        options.student,
        options.sparsity,
        options.pattern,
        options.scheme,
        labels,
        options.schedule,
        options.augmentation,
        progress,
    )
    stages = (*_splitting(options.low_rank), training)
    tell = progress or (lambda words: None)
    return compress(model_source(model), given, stages, dims=dims, progress=tell)


def _splitting(share: float) -> tuple[Stage, ...]:
    """What comes before the training, which mends so much that layers may miss most at first."""
    if not share:
        return ()
    return (LowRankStage(LowRankOptions(share, max_error=_MOST_MISSED)),)
