"""`lepton blame MODEL.onnx`: which layers of its quantized form lose accuracy, and why."""

import dataclasses
import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import Cell, print_table

if TYPE_CHECKING:
    from lepton_cc.attribution.blame import Blame, LayerBlame
    from lepton_cc.attribution.trial import Trial

_SHOWN = 20


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="MODEL.onnx")
@click.option(
    "--against", type=options.FILE, metavar="QUANT.onnx", help="The quantized model to explain."
)
@options.quantize
@options.calibrate
@options.calibration_method
@click.option("--data", type=options.FILE, metavar="DATA.npz", help="Labelled samples, to score.")
@options.metric
@options.labels
@options.dims
@options.divide_by
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    metavar="N",
    help="How many of the samples SQNR is measured on.",
)
@click.option(
    "--try/--no-try",
    "try_cures",
    default=True,
    show_default=True,
    help="With --calibrate: quantize again with what may help the worst layers, and measure it.",
)
@options.as_json
def blame(
    *,
    model: Path,
    against: Path | None,
    quantize: str | None,
    calibrate: Path | None,
    calibration_method: str | None,
    data: Path | None,
    metric: str,
    labels: str,
    dims: tuple[str, ...],
    divide_by: float,
    samples: int,
    try_cures: bool,
    as_json: bool,
) -> None:
    """Swaps layers between float and integer, and says which ones cost most, why, and what helps.

    The quantized model is made here (--quantize) or given (--against). Each layer is quantized
    alone, and all but it; SQNR is that of the outputs against all layers float. Its cause is the
    largest part of the layer's own noise. What helps are options of `lepton compress`.
    """
    from lepton_cc.attribution.blame import blame as blame_
    from lepton_cc.evaluation.data import ArrayForm

    if calibrate is None and data is None:
        click.echo("note: made-up samples; give real ones with --calibrate DATA.npz", err=True)
    found = blame_(
        model,
        against=against,
        quantize=quantize,
        calibrate=calibrate,
        calibration_method=calibration_method,
        data=data,
        metric=metric,
        labels=labels,
        dims=options.read_dims(dims),
        form=ArrayForm(divide_by),
        samples=samples,
        try_cures=try_cures,
    )
    if as_json:
        click.echo(json.dumps(blame_fields(found), indent=2))
        return
    _print(found)
    _print_trials(found)
    if found.advised is not None:
        bound = [word for dim in dims for word in ("--dim", dim)]
        _print_command(found, ["lepton", "compress", str(model), "--data", str(calibrate), *bound])
        if divide_by:
            click.echo(f"note: there, the data must be divided by {divide_by:g} already", err=True)


def blame_fields(found: "Blame") -> dict[str, object]:
    """The report as JSON; None where a figure is infinite."""
    return {
        "samples": found.num_samples,
        "all_decibels": _finite(found.all_decibels),
        "metric": None if found.metric is None else found.metric.value,
        "float_score": found.float_score,
        "all_score": found.all_score,
        "layers": [_layer_fields(layer) for layer in found.layers],
        "trials": [_trial_fields(trial) for trial in found.trials],
        "advised": None if found.advised is None else _trial_fields(found.advised),
    }


def _layer_fields(layer: "LayerBlame") -> dict[str, object]:
    cure, quality = layer.advice.cure, layer.advice.quality
    return {
        **dataclasses.asdict(layer),
        "alone_decibels": _finite(layer.alone_decibels),
        "without_decibels": _finite(layer.without_decibels),
        "cause": layer.cause.value,
        "advice": {
            "arguments": None if cure is None else cure.arguments,
            "all_decibels": None if quality is None else _finite(quality.decibels),
            "all_score": None if quality is None else quality.score,
            "words": layer.advice.words,
        },
    }


def _trial_fields(trial: "Trial") -> dict[str, object]:
    return {
        "arguments": trial.cure.arguments,
        "all_decibels": _finite(trial.quality.decibels),
        "all_score": trial.quality.score,
    }


def _finite(decibels: float) -> float | None:
    return decibels if math.isfinite(decibels) else None


def _print(found: "Blame") -> None:
    click.echo(f"SQNR with all layers quantized: {found.all_decibels:.1f} dB")
    headings = ["layer", "op", "alone, dB", "all others, dB", "noise"]
    if found.metric is not None and found.float_score is not None and found.all_score is not None:
        text = found.metric.text
        scores = f"float {text(found.float_score)}, quantized {text(found.all_score)}"
        click.echo(f"{found.metric.value}: {scores}")
        headings += [f"alone, {found.metric.value}", "all others"]
    headings += ["cause", "what helps"]
    rows = [_row(layer, found) for layer in found.layers[:_SHOWN]]
    print_table(f"layers, {found.num_samples} samples", headings, rows)
    if len(found.layers) > _SHOWN:
        click.echo(f"{len(found.layers) - _SHOWN} more cost less; --json has all")


def _print_trials(found: "Blame") -> None:
    if not found.trials:
        return
    headings = ["tried", "all layers, dB"]
    if found.metric is not None and found.all_score is not None:
        headings.append(found.metric.value)
    rows = [
        [trial.cure.text, f"{trial.quality.decibels:.1f}", *_scores(found, trial.quality.score)]
        for trial in found.trials
    ]
    print_table("on the whole model, options of lepton compress", headings, rows)
    if found.advised is None:
        click.echo("nothing tried helps by 1 dB")


def _print_command(found: "Blame", words: list[str]) -> None:
    """What the best of the trials gives, and the command for it."""
    assert found.advised is not None
    quality, arguments = found.advised.quality, found.advised.cure.arguments
    gains = [f"{found.all_decibels:.1f} to {quality.decibels:.1f} dB"]
    scores = [*_scores(found, found.all_score), *_scores(found, quality.score)]
    gains += [" to ".join(scores)] if scores else []
    click.echo(f"{', '.join(gains)}: {shlex.join([*words, *arguments])}")


def _scores(found: "Blame", score: float | None) -> list[str]:
    return [] if found.metric is None or score is None else [found.metric.text(score)]


def _row(layer: "LayerBlame", found: "Blame") -> list[Cell]:
    cells: list[Cell] = [
        layer.name,
        layer.operation,
        f"{layer.alone_decibels:.1f}",
        f"{layer.without_decibels:.1f}",
        f"{layer.share:.0%}",
    ]
    if found.metric is not None:
        scores = (layer.alone_score, layer.without_score)
        cells += ["" if score is None else found.metric.text(score) for score in scores]
    where = " of weights" if layer.noise.in_weights else ""
    return [*cells, f"{layer.cause.value}{where}", layer.advice.text]
