"""`lepton distill MODEL --data DATA.npz`: trains a compressed student of a model, with PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.compression_files import checked_output, write_compression
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.progress import progress

if TYPE_CHECKING:
    from lepton_cc.passes.prune.pattern import Pattern


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="MODEL.onnx")
@click.option(
    "--data",
    type=options.FILE,
    required=True,
    metavar="DATA.npz",
    help="Samples of the inputs, to train on: thousands of them.",
)
@click.option(
    "--student",
    metavar="SHARE|FILE.onnx",
    help="Who learns: the model with this share of its multiply-adds, or another model "
    "[default: the model itself].",
)
@click.option(
    "--low-rank",
    default=0.0,
    metavar="SHARE",
    help="Share of the multiply-adds that thinner layers save, before anything else [default: 0].",
)
@click.option(
    "--sparsity",
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the weights that become zero.",
)
@click.option(
    "--pattern",
    default="unstructured",
    show_default=True,
    metavar="unstructured|2:4|RxC",
    help="Where zeros stand: anywhere, two in four inputs, or in blocks of R inputs by C outputs.",
)
@click.option(
    "--quantize",
    type=click.Choice(["none", *options.SCHEMES]),
    default="none",
    show_default=True,
    help="Bits of weights, and of activations, that it learns to live with.",
)
@click.option(
    "--labels",
    default="",
    metavar="NAME",
    help="The array with the classes of the samples [default: the original's outputs are all].",
)
@click.option("--epochs", default=30, show_default=True, metavar="N", help="How often to see all.")
@click.option("--batch", default=64, show_default=True, metavar="N", help="Samples in a step.")
@click.option(
    "--learning-rate",
    default=0.002,
    show_default=True,
    metavar="X",
    help="The largest step of a weight, in deviations of its layer's outputs.",
)
@click.option(
    "--temperature",
    default=4.0,
    show_default=True,
    metavar="T",
    help="By which logits are divided before they are compared.",
)
@click.option(
    "--label-weight",
    default=0.3,
    show_default=True,
    metavar="SHARE",
    help="Of the labels' loss, if there are labels.",
)
@click.option(
    "--hint-weight",
    default=20.0,
    show_default=True,
    metavar="X",
    help="What the values inside count at first that original and student both have; "
    "it falls to nothing.",
)
@click.option("--flip", is_flag=True, help="Mirror half of the images, left to right.")
@click.option(
    "--shift", default=0, metavar="N", help="Move images by up to so many pixels [default: 0]."
)
@click.option(
    "--zoom",
    default=0.0,
    metavar="SHARE",
    help="Make images larger or smaller, and move them, by up to this share [default: 0].",
)
@click.option(
    "--contrast",
    default=0.0,
    metavar="SHARE",
    help="Change brightness and contrast of images by up to this share [default: 0].",
)
@click.option(
    "--mixup",
    default=0.0,
    metavar="SHARE",
    help="Blend this share of the samples with others [default: 0].",
)
@click.option(
    "--cutmix",
    default=0.0,
    metavar="SHARE",
    help="Put rectangles of others into this share of the images [default: 0].",
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of everything random.")
@click.option(
    "--bfloat16",
    is_flag=True,
    help="Multiply in bfloat16 while floats are trained: faster where the processor has it.",
)
@options.divide_by
@options.dims
@click.option("--name", default="", metavar="IDENT", help="Of the files [default: the model's].")
@click.option(
    "-o", "out", type=options.FILE, metavar="DIR", help="Write there [default: build/NAME]."
)
@options.as_json
def distill(
    *,
    model: Path,
    data: Path,
    student: str | None,
    low_rank: float,
    sparsity: float,
    pattern: str,
    quantize: str,
    labels: str,
    epochs: int,
    batch: int,
    learning_rate: float,
    temperature: float,
    label_weight: float,
    hint_weight: float,
    flip: bool,
    shift: int,
    zoom: float,
    contrast: float,
    mixup: float,
    cutmix: float,
    seed: int,
    bfloat16: bool,
    divide_by: float,
    dims: tuple[str, ...],
    name: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Trains a compressed student to give what the model gives; needs the extra `train`.

    Writes NAME.lir, NAME.onnx and report.json as `lepton compress` does.
    """
    from lepton_cc.evaluation.data import ArrayForm
    from lepton_cc.passes.quantize.weight_rounding import WeightScheme
    from lepton_cc.train.augmentation import Augmentation
    from lepton_cc.train.distill import DistillOptions
    from lepton_cc.train.distill import distill as distill_model
    from lepton_cc.train.distillation import Schedule

    learner = _student(student)
    chosen = DistillOptions(
        learner,
        low_rank,
        sparsity,
        _pattern(pattern),
        None if quantize == "none" else WeightScheme(quantize),
        labels,
        Schedule(
            epochs, batch, learning_rate, temperature, label_weight, hint_weight, seed, bfloat16
        ),
        Augmentation(flip, shift, zoom, contrast, mixup, cutmix),
        ArrayForm(divide_by),
    )
    inputs = (model, data, learner) if isinstance(learner, Path) else (model, data)
    output = checked_output(inputs, name, out)
    with progress(quiet=as_json) as tell:
        done = distill_model(model, data, chosen, dims=options.read_dims(dims), progress=tell)
    write_compression(done, output, as_json=as_json)


def _student(word: str | None) -> float | Path | None:
    if word is None:
        return None
    try:
        return float(word)
    except ValueError:
        return Path(word)


def _pattern(word: str) -> "Pattern":
    from lepton_cc.passes.prune.pattern import named_pattern

    pattern = named_pattern(word) or named_pattern(f"blocks-{word}")
    if pattern is None:
        raise click.BadParameter(f"{word!r} is no pattern", param_hint="--pattern")
    return pattern
