"""`lepton compress MODEL --data DATA.npz`: integers of a float model, as IR and as ONNX."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.progress import progress
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.compression.result import Compression
    from lepton_cc.compression.stage import Stage


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="MODEL.onnx")
@click.option(
    "--data",
    type=options.FILE,
    required=True,
    metavar="DATA.npz",
    help="Samples of the inputs, to calibrate with.",
)
@click.option(
    "--quantize",
    type=click.Choice(["none", *options.SCHEMES]),
    default="w8a8",
    show_default=True,
    help="Bits of weights, and of activations; none keeps the floats.",
)
@click.option(
    "--method",
    type=click.Choice(["plain", "gptq", "adaround"]),
    default="gptq",
    show_default=True,
    help="How weights are rounded: to nearest, or for the least error of each layer.",
)
@click.option("--equalize", is_flag=True, help="First make ranges of channels equal.")
@click.option(
    "--bias-correction/--no-bias-correction",
    "bias_correction",
    default=None,
    help="Let biases take up mean errors [default: for 4-bit weights].",
)
@options.calibration_method
@options.dims
@click.option("--name", default="", metavar="IDENT", help="Of the files [default: the model's].")
@click.option(
    "-o", "out", type=options.FILE, metavar="DIR", help="Write there [default: build/NAME]."
)
@options.as_json
@click.pass_context
def compress(
    ctx: click.Context,
    *,
    model: Path,
    data: Path,
    quantize: str,
    method: str,
    equalize: bool,
    bias_correction: bool | None,
    calibration_method: str | None,
    dims: tuple[str, ...],
    name: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Makes a float model smaller with calibration data alone: stage by stage, quantization last.

    Writes NAME.lir, the graph with its quantization, NAME.onnx, the same as a QDQ model that ONNX
    Runtime runs and lepton-cc compiles, and report.json.
    """
    from lepton_cc.compression.compress import compress as compress_model
    from lepton_cc.ir.diagnostics import Refused

    stages: list[Stage] = []
    if quantize != "none":
        stages.append(
            _quantization(quantize, method, calibration_method, equalize, bias_correction)
        )
    with progress(quiet=as_json) as tell:
        done = compress_model(
            model,
            data,
            stages,
            dims=options.read_dims(dims),
            observers=(ctx.ensure_object(Session),),
            progress=tell,
        )
    stem = name or model.stem
    written = done.save(out or Path("build") / stem, stem)
    if as_json:
        click.echo(json.dumps(done.report(), indent=2, ensure_ascii=False))
    else:
        _print(done, written)
    if done.problems:
        raise Refused(done.problems)


def _quantization(
    scheme: str,
    rounding: str,
    calibration_method: str | None,
    equalize: bool,
    bias_correction: bool | None,
) -> "Stage":
    from lepton_cc.calibration.method import Method
    from lepton_cc.calibration.quantize import DEFAULT_METHOD, QuantizationOptions
    from lepton_cc.compression.quantize_stage import QuantizeStage
    from lepton_cc.passes.quantize.layer_rounding import Rounding
    from lepton_cc.passes.quantize.weight_rounding import WeightScheme

    return QuantizeStage(
        QuantizationOptions(
            WeightScheme(scheme),
            method=DEFAULT_METHOD if calibration_method is None else Method(calibration_method),
            rounding=Rounding(rounding),
            equalize=equalize,
            correct_bias=bias_correction,
        )
    )


def _print(done: "Compression", written: tuple[Path, ...]) -> None:
    for stage in done.stages:
        table = stage.result.table
        if table is not None:
            title = f"{stage.name}: {table.title}, {stage.seconds:.1f} s"
            print_table(title, table.headings, table.rows)
    for note in done.notes:
        click.echo(f"note: {note.message}", err=True)
    for path in written:
        click.echo(f"wrote {path}")
