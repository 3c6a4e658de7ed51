"""Accuracy of students that were trained with `lepton distill`, in generated code.

    python -m benchmarks.measure_training [NAME...]

Reads ../shared, trains on one thread and prints the rows of docs/training.md; seconds are of the
processor, of training alone.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import lepton_cc
from benchmarks.measure_quantization import SHARED, TASKS, Task, _outputs
from lepton_cc.evaluation.data import ArrayForm
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.train.augmentation import Augmentation
from lepton_cc.train.distill import DistillOptions, distill
from lepton_cc.train.distillation import Schedule


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model, what it is trained on, and how."""

    name: str
    model: str
    data: str
    options: DistillOptions

    @property
    def task(self) -> Task:
        """The model with its evaluation data."""
        (found,) = (task for task in TASKS if task.name == self.model)
        return found


FEW_CHANGES = Augmentation(flip=True, shift=2)
MANY_CHANGES = Augmentation(flip=True, zoom=0.15, contrast=0.2, mixup=0.45, cutmix=0.45)


def _unlabelled(
    epochs: int, sparsity: float = 0.0, student: float | None = None, low_rank: float = 0.0
) -> DistillOptions:
    """By the original's answers alone, of images that are changed strongly."""
    return DistillOptions(
        student,
        low_rank,
        sparsity,
        schedule=Schedule(epochs, learning_rate=1e-3, bfloat16=True),
        augmentation=MANY_CHANGES,
        form=ArrayForm(1.0),
    )


def _labelled(
    schedule: Schedule, sparsity: float = 0.0, scheme: WeightScheme | None = None
) -> DistillOptions:
    return DistillOptions(
        sparsity=sparsity,
        scheme=scheme,
        labels="y",
        schedule=schedule,
        augmentation=FEW_CHANGES,
        form=ArrayForm(1.0),
    )


RESNET, TRAINING_DATA = "ic_resnet8_fp32", "ic_train_subset"
RECIPES = (
    Recipe(
        "80 % zeros, labels",
        RESNET,
        TRAINING_DATA,
        _labelled(Schedule(20, bfloat16=True), sparsity=0.8),
    ),
    Recipe("80 % zeros", RESNET, TRAINING_DATA, _unlabelled(80, sparsity=0.8)),
    Recipe("half the MACs, channels", RESNET, TRAINING_DATA, _unlabelled(80, student=0.5)),
    Recipe("half the MACs, low rank", RESNET, TRAINING_DATA, _unlabelled(80, low_rank=0.5)),
    Recipe("w4a8", RESNET, TRAINING_DATA, _labelled(Schedule(6), scheme=WeightScheme.W4A8)),
    Recipe(
        "autoencoder w4a8",
        "ad_autoencoder_fp32",
        "ad_calib",
        DistillOptions(scheme=WeightScheme.W4A8, schedule=Schedule(100, 64)),
    ),
)


def measure(recipe: Recipe) -> None:
    """Prints the row of a recipe."""
    task = recipe.task
    _, seen, labels = task.samples()
    arrays = dict(np.load(SHARED / "data" / f"{recipe.data}.npz"))
    kept = {name: arrays[name] for name in ("x", recipe.options.labels) if name in arrays}
    start = time.process_time()
    done = distill(task.path, kept, recipe.options, progress=_tell)
    seconds = time.process_time() - start
    stages = done.report()["stages"]
    assert isinstance(stages, list)
    trained = stages[-1]
    scores = []
    with TemporaryDirectory() as folder:
        done.save(Path(folder), "student")
        for path in (task.path, Path(folder) / "student.onnx"):
            model = lepton_cc.compile(path, target="host")
            (port,) = model.inputs
            inputs = seen.reshape(-1, *port.type.dims)
            outputs = _outputs(model.run, port.name, inputs)
            scores.append(task.score(seen.reshape(len(seen), -1), outputs, labels))
    print(
        f"| {recipe.model} | {recipe.name} | {scores[0]:.2f} | {scores[1]:.2f} |"
        f" {trained['num_macs_before']:,} to {trained['num_macs']:,} | {trained['zeros']:.0%} |"
        f" {recipe.options.schedule.epochs} | {seconds:.0f} |",
        flush=True,
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args().names
    torch.set_num_threads(1)
    for recipe in RECIPES:
        if not chosen or recipe.name in chosen:
            measure(recipe)


if __name__ == "__main__":
    main()
