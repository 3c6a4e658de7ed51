"""`lepton eval MODEL ... --data DATA.npz`: models side by side, original against compressed."""

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.evaluation.candidate import Costs
    from lepton_cc.evaluation.evaluate import Evaluation, Row


@click.command(cls=GuardedCommand, name="eval")
@click.argument("models", type=options.FILE, metavar="MODEL|DIR ...", nargs=-1, required=True)
@click.option("--data", required=True, type=options.FILE, metavar="DATA.npz")
@options.metric
@options.labels
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME|FILE.toml",
    help="What costs are those of; may be given several times [default: host].",
)
@options.dims
@click.option(
    "--quantize",
    type=click.Choice(["none", *options.SCHEMES]),
    help="Add the integer form of each float model: 8 or 4 bits for weights, 8 or 16 for "
    "activations.",
)
@options.calibrate
@options.calibration_method
@options.divide_by
@click.option(
    "--windows",
    default=0,
    metavar="N",
    help="Cut each recording [steps, features] into its windows of N steps, flattened.",
)
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Only the first N rows.")
@click.option("--robustness/--no-robustness", default=True, help="Try noise and an attack, too.")
@click.option("--noise", default=0.25, show_default=True, metavar="X", help="Of Gaussian noise.")
@click.option("--step", default=0.1, show_default=True, metavar="X", help="Of the attack.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of noise and attack.")
@click.option("--cycles", is_flag=True, help="Compile for lepton-npu, too, for its cycles.")
@click.option("--instructions", is_flag=True, help="Run on an emulated rv32imc, too, and count.")
@click.option(
    "--min-accuracy", type=float, metavar="X", help="Fail if a score is below (mse: above) X."
)
@options.as_json
def evaluate(
    *,
    models: tuple[Path, ...],
    data: Path,
    metric: str,
    labels: str,
    targets: tuple[str, ...],
    dims: tuple[str, ...],
    quantize: str | None,
    calibrate: Path | None,
    calibration_method: str | None,
    divide_by: float,
    windows: int,
    samples: int | None,
    robustness: bool,
    noise: float,
    step: float,
    seed: int,
    cycles: bool,
    instructions: bool,
    min_accuracy: float | None,
    as_json: bool,
) -> None:
    """Scores models on labelled data with generated code, and says what each costs.

    The first model is the original; --quantize adds the integer form of each float one. Times are
    of one thread of this machine, memories of code for --target. Energy is an estimate from
    published coefficients, nothing measured. Noise and attack are in standard deviations of the
    input; the attack estimates gradients along random directions.
    """
    from lepton_cc.codegen.targets.loader import HOST
    from lepton_cc.evaluation.data import ArrayForm
    from lepton_cc.evaluation.evaluate import evaluate as evaluate_
    from lepton_cc.evaluation.robustness import Perturbation
    from lepton_cc.ir.diagnostics import Refused

    if min_accuracy is not None:
        _check_limit(metric, min_accuracy)
    found = evaluate_(
        models,
        data,
        metric=metric,
        labels=labels,
        target=targets or HOST,
        dims=options.read_dims(dims),
        quantize=quantize,
        calibrate=calibrate,
        calibration_method=calibration_method,
        form=ArrayForm(divide_by, windows),
        samples=samples,
        perturbation=Perturbation(noise, step, seed=seed) if robustness else None,
        instructions=instructions,
        cycles=cycles,
    )
    if as_json:
        click.echo(json.dumps(evaluation_fields(found), indent=2))
    else:
        _print(found)
    if min_accuracy is not None and (problems := found.below(min_accuracy)):
        raise Refused(problems)


def _check_limit(metric: str, limit: float) -> None:
    highest = math.inf if metric == "mse" else 1
    if not 0 <= limit <= highest:
        raise click.BadParameter(
            f"{limit:g} is no {metric}, which is from 0 to {highest}", param_hint="--min-accuracy"
        )


def evaluation_fields(found: "Evaluation") -> dict[str, object]:
    """The evaluation as JSON, which has neither infinity nor NaN."""
    rows = []
    for row in found.rows:
        fields = dataclasses.asdict(row)
        fields["score"] = row.score if math.isfinite(row.score) else None
        quality = row.sqnr_decibels
        fields["sqnr_decibels"] = (
            quality if quality is not None and math.isfinite(quality) else None
        )
        for part, costs in zip(
            (fields["costs"], *fields["elsewhere"]), (row.costs, *row.elsewhere), strict=True
        ):
            part["energy"] |= {"total": costs.energy.total, "measured": False}
        rows.append(fields)
    return {
        "metric": found.metric.value,
        "samples": found.num_samples,
        "labels": found.num_labels,
        "perturbation": dataclasses.asdict(found.perturbation),
        "models": rows,
    }


def _print(found: "Evaluation") -> None:
    """A column for each model."""
    columns = [_cells(row, found) for row in found.rows]
    headings = ("", *(row.name for row in found.rows))
    # The longest has all rows in order but those of another core or engine.
    order = [key for column in sorted(columns, key=len, reverse=True) for key in column]
    keys = [key for key in dict.fromkeys(order) if any(column.get(key) for column in columns)]
    title = f"{found.num_samples} samples, {found.num_labels} labels"
    rows = [(key, *(column.get(key) or "-" for column in columns)) for key in keys]
    print_table(title, headings, rows)
    for row in found.rows:
        for note in row.costs.notes:
            click.echo(f"note: {row.name}: {note}", err=True)


def _cells(row: "Row", found: "Evaluation") -> dict[str, str]:
    costs, by, text = row.costs, found.perturbation, found.metric.text
    few = f", {row.num_perturbed} labels"

    def share(score: float | None) -> str:
        return "" if score is None else text(score)

    seconds = costs.host_seconds
    cells = {
        found.metric.value: text(row.score),
        "SQNR to the first, dB": "" if row.sqnr_decibels is None else f"{row.sqnr_decibels:.1f}",
        f"{found.metric.value}{few}": share(row.unperturbed),
        f"  with noise of {by.noise:g} sd": share(row.noisy),
        f"  attacked by {by.step:g} sd": share(row.attacked),
        "file, bytes": _whole(costs.file_bytes),
        "us a run, this machine": "" if seconds is None else f"{seconds * 1e6:.2f}",
        **_cost_cells(costs),
        f"instructions, {costs.core}": _whole(costs.instructions),
        f"engine cycles, {costs.engine}": _whole(costs.cycles),
    }
    for other in row.elsewhere:
        figures = {
            **_cost_cells(other),
            "instructions": _whole(other.instructions),
            "engine cycles": _whole(other.cycles),
        }
        cells |= {f"{other.target}: {name}": cell for name, cell in figures.items()}
    return cells


def _cost_cells(costs: "Costs") -> dict[str, str]:
    return {
        "weights, bytes": _whole(costs.constants_bytes),
        "flash, bytes": _whole(costs.flash_bytes),
        "RAM: arena + stack, bytes": f"{costs.arena_bytes:,} + {costs.stack_bytes:,}",
        "multiply-adds": _whole(costs.num_macs),
        "energy, uJ, estimated": f"{costs.energy.total / 1e6:.3g}",
    }


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
