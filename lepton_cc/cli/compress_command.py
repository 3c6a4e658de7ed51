"""`lepton compress MODEL --data DATA.npz`: integers of a float model, as IR and as ONNX."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.compression import Compression


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
    type=click.Choice(["w8a8", "w4a8", "w8a16", "w4a16"]),
    default="w8a8",
    show_default=True,
    help="Bits of weights, and of activations.",
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
    """Quantizes a float model with calibration data alone.

    Writes NAME.lir, the graph with its quantization, NAME.onnx, the same as a QDQ model that ONNX
    Runtime runs and lepton-cc compiles, and report.json.
    """
    from lepton_cc.calibration.method import Method
    from lepton_cc.calibration.quantize import DEFAULT_METHOD, QuantizationOptions
    from lepton_cc.compression import compress as compress_model
    from lepton_cc.ir.diagnostics import Refused
    from lepton_cc.passes.quantize.layer_rounding import Rounding
    from lepton_cc.passes.quantize.weight_rounding import WeightScheme

    chosen = QuantizationOptions(
        WeightScheme(quantize),
        data,
        DEFAULT_METHOD if calibration_method is None else Method(calibration_method),
        rounding=Rounding(method),
        equalize=equalize,
        correct_bias=bias_correction,
    )
    done = compress_model(
        model, chosen, dims=options.read_dims(dims), observers=(ctx.ensure_object(Session),)
    )
    stem = name or model.stem
    written = done.save(out or Path("build") / stem, stem)
    if as_json:
        click.echo(json.dumps(done.report(), indent=2, ensure_ascii=False))
    else:
        _print(done, written)
    if done.problems:
        raise Refused(done.problems)


def _print(done: "Compression", written: tuple[Path, ...]) -> None:
    from lepton_cc.compression import decibels

    def shown(error: float | None) -> str:
        ratio = None if error is None else decibels(error)
        return "-" if ratio is None else f"{ratio:.1f}"

    records = done.quantized.rounding.records
    print_table(
        f"{done.options.scheme.value} by {done.options.rounding.value}",
        ("layer", "ONNX nodes", "weights", "bits", "dB to nearest", "dB", "note"),
        [
            (
                one.name,
                "+".join(one.nodes),
                one.num_weights,
                one.bits,
                shown(one.error.to_nearest if one.error else None),
                shown(one.error.solved if one.error else None),
                one.reason,
            )
            for one in records
        ],
    )
    for path in written:
        click.echo(f"wrote {path}")
