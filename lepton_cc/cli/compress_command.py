"""`lepton compress MODEL --data DATA.npz`: integers of a float model, as IR and as ONNX."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lepton_cc.cli import options
from lepton_cc.cli.compression_files import checked_output, write_compression
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.progress import progress

if TYPE_CHECKING:
    from lepton_cc.calibration.layer_schemes import LayerScheme
    from lepton_cc.calibration.quantize import QuantizationOptions
    from lepton_cc.compression.stage import Stage

_OF_QUANTIZATION = (
    "--method",
    "--equalize",
    "--smooth",
    "--bias-correction",
    "--layer-scheme",
    "--mixed",
    "--block",
    "--calibration-method",
)


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
    help="How weights are rounded: to nearest, or for the least error of each layer "
    "[default: gptq where some have 4 bits, else plain].",
)
@click.option(
    "--prune",
    metavar="PATTERN:SHARE",
    help="First make weights zero, or remove channels or attention heads: unstructured:0.5, 2:4, "
    "blocks-1x16:0.75, channels:0.3, channels-arena:0.3 (the arena shrinks as much), heads:0.25.",
)
@click.option(
    "--fit/--no-fit",
    default=True,
    show_default=True,
    help="Fit the whole model, pruned or split, to what the original gives.",
)
@click.option(
    "--target",
    metavar="NAME|FILE.toml",
    help="Say what pruning saves there; `lepton targets` lists the names.",
)
@click.option(
    "--low-rank",
    "low_rank",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Split layers into thinner ones that save this share of all MACs.",
)
@click.option("--equalize", is_flag=True, help="First make ranges of channels equal.")
@click.option(
    "--smooth", is_flag=True, help="First move scales of channels from norms into weights."
)
@click.option(
    "--bias-correction/--no-bias-correction",
    "bias_correction",
    default=None,
    help="Let biases take up mean errors [default: for 4-bit weights].",
)
@click.option(
    "--layer-scheme",
    "layer_schemes",
    multiple=True,
    metavar="NAME=SCHEME",
    help="Other bits for the layer of an ONNX node; NAME may hold *.",
)
@click.option(
    "--mixed",
    metavar="SIZE%|X dB",
    help="Keep the layers at 8 bits that lose most at 4: as many as fit a share of the bytes that "
    "weights take at 8 bits, or as the outputs need for a signal to noise ratio.",
)
@click.option(
    "--block",
    type=click.IntRange(2),
    metavar="N",
    help="With w4a16, w8a16: weights of matrix products alone, N of a column sharing a scale.",
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
    method: str | None,
    equalize: bool,
    smooth: bool,
    bias_correction: bool | None,
    prune: str | None,
    fit: bool,
    target: str | None,
    low_rank: float | None,
    layer_schemes: tuple[str, ...],
    mixed: str | None,
    block: int | None,
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

    _refuse_without_effect(ctx, quantize, prune)
    stages: list[Stage] = []
    if prune is not None:
        stages.append(_pruning(prune, target, fit=fit, is_quantized=quantize != "none"))
    if low_rank is not None:
        stages.append(_low_rank(low_rank, fit=fit))
    if quantize != "none":
        from lepton_cc.compression.quantize_stage import QuantizeStage

        chosen = _quantization(quantize, method, calibration_method, layer_schemes, mixed)
        chosen = replace(
            chosen,
            equalize=equalize,
            smooth=smooth,
            correct_bias=bias_correction,
            block=block or 0,
        )
        stages.append(QuantizeStage(chosen))
    output = checked_output((model, data), name, out)
    with progress(quiet=as_json) as tell:
        done = compress_model(
            model,
            data,
            stages,
            dims=options.read_dims(dims),
            observers=(ctx.ensure_object(Session),),
            progress=tell,
        )
    write_compression(done, output, as_json=as_json)


def _refuse_without_effect(ctx: click.Context, quantize: str, prune: str | None) -> None:
    """Refuses options of stages that were not asked for."""
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]
    idle = [option for option in given if option in _OF_QUANTIZATION] if quantize == "none" else []
    if idle:
        raise click.UsageError(f"{', '.join(idle)}: nothing is quantized with --quantize none")
    if prune is None and "--target" in given:
        raise click.UsageError("--target says what pruning saves: give --prune, too")


def _pruning(text: str, target: str | None, *, fit: bool, is_quantized: bool) -> "Stage":
    from lepton_cc.codegen.targets.loader import load_target
    from lepton_cc.compression.prune_stage import PruneStage
    from lepton_cc.ir.dtype import DType
    from lepton_cc.pruning.options import read_options
    from lepton_cc.reconstruction.outputs import FitOptions

    return PruneStage(
        read_options(text, FitOptions() if fit else None),
        None if target is None else load_target(target),
        DType.I8 if is_quantized else DType.F32,
    )


def _low_rank(share: float, *, fit: bool) -> "Stage":
    from lepton_cc.compression.low_rank_stage import LowRankStage
    from lepton_cc.low_rank.options import LowRankOptions
    from lepton_cc.reconstruction.outputs import FitOptions

    return LowRankStage(LowRankOptions(share, fit=FitOptions() if fit else None))


def _quantization(
    scheme: str,
    rounding: str | None,
    calibration_method: str | None,
    layer_schemes: tuple[str, ...],
    mixed: str | None,
) -> "QuantizationOptions":
    from lepton_cc.calibration.method import Method
    from lepton_cc.calibration.mixed_widths import WidthBudget
    from lepton_cc.calibration.quantize import DEFAULT_METHOD, QuantizationOptions
    from lepton_cc.passes.quantize.layer_rounding import Rounding
    from lepton_cc.passes.quantize.weight_rounding import WeightScheme

    layers = tuple(_layer_scheme(word) for word in layer_schemes)
    schemes = (WeightScheme(scheme), *(layer.scheme for layer in layers))
    # At 8 bits the better rounding is below the noise of accuracy, and takes ten times as long.
    default = Rounding.GPTQ if any(one.has_narrow_weights for one in schemes) else Rounding.PLAIN
    return QuantizationOptions(
        schemes[0],
        method=DEFAULT_METHOD if calibration_method is None else Method(calibration_method),
        rounding=default if rounding is None else Rounding(rounding),
        layers=layers,
        mixed=None if mixed is None else WidthBudget.parse(mixed),
    )


def _layer_scheme(word: str) -> "LayerScheme":
    from lepton_cc.calibration.layer_schemes import LayerScheme
    from lepton_cc.passes.quantize.weight_rounding import WeightScheme

    pattern, _, scheme = word.rpartition("=")
    if not pattern or scheme not in options.SCHEMES:
        known = ", ".join(options.SCHEMES)
        raise click.BadParameter(
            f"{word!r} is not NAME=SCHEME with a scheme of {known}", param_hint="--layer-scheme"
        )
    return LayerScheme(pattern, WeightScheme(scheme))
