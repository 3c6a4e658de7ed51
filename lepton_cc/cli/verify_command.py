"""`lepton verify DIR --against MODEL.onnx`: how far the compiled model is from the original."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.tables import print_table
from lepton_cc.cli.verify_report import (
    HEADINGS,
    complaints,
    difference_rows,
    print_quantized,
    quantized_fields,
)

if TYPE_CHECKING:
    from lepton_cc.artifacts.manifest import Build
    from lepton_cc.calibration.quantize import QuantizationRecord
    from lepton_cc.compiler import Compilation
    from lepton_cc.ir.tensor import Array
    from lepton_cc.saved_model import SavedModel
    from lepton_cc.verify.difference import Difference
    from lepton_cc.verify.quantized import QuantizedReport, Task

_LABELS = "y"
_MADE_UP_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class _Samples:
    """Inputs, and the class of each if the data say it."""

    inputs: "list[dict[str, Array]]"
    labels: "Array | None" = None


@click.command(cls=GuardedCommand)
@click.argument("folder", type=options.FILE, metavar="DIR")
@click.option("--against", required=True, type=options.FILE, metavar="MODEL.onnx")
@click.option(
    "--data",
    type=options.FILE,
    metavar="DATA.npz",
    help="Inputs, and labels as y [default: random inputs in the calibrated range].",
)
@click.option(
    "--calibrate",
    type=options.FILE,
    metavar="DATA.npz",
    help="What the build was calibrated with, to compare its layers, too.",
)
@click.option(
    "--samples",
    "num_samples",
    type=click.IntRange(1),
    metavar="N",
    help="How many samples [default: all of the data, 4 random ones].",
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of random inputs.")
@click.option("--layers/--no-layers", default=True, help="Compare each layer, too.")
@options.as_json
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    folder: Path,
    against: Path,
    data: Path | None,
    calibrate: Path | None,
    num_samples: int | None,
    seed: int,
    layers: bool,
    as_json: bool,
) -> None:
    """Compares outputs with ONNX Runtime, and each layer with the NumPy interpreter.

    Layers are those of a build for this machine with the same options. Float models fail if an
    output is beyond the tolerance of its type. Quantized models are measured in steps (LSB), with
    ONNX Runtime in each of its modes; they fail if an integer differs from the interpreter's, or an
    output is farther from all modes than these are from each other. Models that were quantized here
    are measured against the float model, and fail only if an integer is not the interpreter's.
    """
    from lepton_cc.saved_model import SavedModel
    from lepton_cc.verify.quantized import Task, verify_quantized
    from lepton_cc.verify.quantized_graph import is_quantized

    model = SavedModel(folder)
    _check_model(model.build, against)
    compilation = _compiled_again(ctx, model.build, against, calibrate)
    samples = _samples(model.build, compilation, data, num_samples, seed)
    if model.build.quantization is not None:
        task = Task(samples.inputs, samples.labels, layers=layers)
        _verify_post_training(model, compilation, against, task, as_json=as_json)
        return
    assert compilation is not None
    if not is_quantized(compilation.imported):
        _verify_floats(model, compilation, against, samples, layers=layers, as_json=as_json)
        return
    task = Task(samples.inputs, samples.labels, layers=layers)
    report = verify_quantized(model.run, compilation, against, task)
    if as_json:
        click.echo(json.dumps(quantized_fields(report), indent=2))
    else:
        print_quantized(report)
    refuse_if_diverging(report)


def _verify_post_training(
    model: "SavedModel",
    compilation: "Compilation | None",
    against: Path,
    task: "Task",
    *,
    as_json: bool,
) -> None:
    from lepton_cc.cli.post_training_report import (
        post_training_fields,
        print_post_training,
        refuse_if_integers_differ,
    )
    from lepton_cc.verify.post_training import verify_post_training

    record = model.build.quantization
    assert record is not None
    if compilation is None:
        click.echo("note: give --calibrate DATA.npz to compare the layers, too", err=True)
    report = verify_post_training(model.run, against, task, record.output_scales, compilation)
    if as_json:
        click.echo(json.dumps(post_training_fields(report), indent=2))
    else:
        print_post_training(report)
    refuse_if_integers_differ(report)


def refuse_if_diverging(report: "QuantizedReport") -> None:
    """Refuses a quantized model that failed its check.

    Raises:
        Refused: with everything that is wrong.
    """
    from lepton_cc.ir.diagnostics import Refused

    if found := complaints(report):
        raise Refused(found)


def _verify_floats(
    model: "SavedModel",
    compilation: "Compilation",
    against: Path,
    samples: _Samples,
    *,
    layers: bool,
    as_json: bool,
) -> None:
    from lepton_cc.verify.layers import layer_differences
    from lepton_cc.verify.reference import onnxruntime_run, output_differences

    names = [port.name for port in model.build.interface.outputs]
    reference = onnxruntime_run(against)
    outputs = output_differences(model.run, reference, samples.inputs, names)
    by_layer = layer_differences(compilation, samples.inputs[0]) if layers else ()
    if as_json:
        document = {
            "quantized": False,
            "samples": len(samples.inputs),
            "outputs": [dataclasses.asdict(one) for one in outputs],
            "layers": [dataclasses.asdict(one) for one in by_layer],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        title = f"outputs against ONNX Runtime, {len(samples.inputs)} samples"
        print_table(title, HEADINGS, difference_rows(outputs))
        if by_layer:
            title = "layers against NumPy, first sample"
            print_table(title, HEADINGS, difference_rows(by_layer))
    refuse_if_beyond(outputs)


def refuse_if_beyond(outputs: "Sequence[Difference]") -> None:
    """Refuses outputs that are too far from their reference.

    Raises:
        Refused: an output is; all that are, are named.
    """
    from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused

    found = [
        Diagnostic(
            Code.CHECK_FAILED,
            f"output {one.name!r}: {one.num_beyond} of {one.num_elements} elements are too far "
            f"from the reference, by up to {one.max_abs:.3g}",
            hint="find the layer where it begins with `lepton verify DIR --against MODEL.onnx`",
        )
        for one in outputs
        if not one.is_within
    ]
    if found:
        raise Refused(found)


def _check_model(build: "Build", against: Path) -> None:
    from lepton_cc.frontend.model_source import model_sha256

    if model_sha256(against) != build.model_sha256:
        click.echo(f"note: {against} is not the file that {build.folder} was made from", err=True)


def _samples(
    build: "Build",
    compilation: "Compilation | None",
    data: Path | None,
    num_samples: int | None,
    seed: int,
) -> _Samples:
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.sample_inputs import made_up_inputs, read_inputs, samples
    from lepton_cc.verify.quantized_graph import calibrated_inputs

    if data is None:
        seeds = range(seed, seed + (num_samples or _MADE_UP_SAMPLES))
        if compilation is None:
            return _Samples([made_up_inputs(build.interface.inputs, one) for one in seeds])
        return _Samples([calibrated_inputs(compilation.imported, one) for one in seeds])
    arrays = read_inputs([str(data)])
    found = list(samples(build.interface.inputs, arrays))
    if not found:
        raise refuse(Code.BAD_INPUT_DATA, f"{data} holds no sample")
    labels = arrays.get(_LABELS)
    if labels is None or labels.shape != (len(found),) or labels.dtype.kind not in "iu":
        return _Samples(found[:num_samples])
    return _Samples(found[:num_samples], labels[:num_samples])


def _compiled_again(
    ctx: click.Context, build: "Build", model: Path, calibrate: Path | None
) -> "Compilation | None":
    """The model, with the options of the build, for this machine: its layers can be run here.

    None if it was quantized by data that are not given again.
    """
    from lepton_cc.calibration.quantize import QuantizationOptions
    from lepton_cc.codegen.targets.loader import HOST, load_target, runs_on_this_machine
    from lepton_cc.compiler import CompileOptions, compile_model
    from lepton_cc.levels import OptLevel

    target = build.target if runs_on_this_machine(build.target) else load_target(HOST)
    quantization: QuantizationOptions | None = None
    record = build.quantization
    if record is not None:
        if record.seed is None and calibrate is None:
            return None
        source = None if record.seed is not None else calibrate
        quantization = QuantizationOptions(record.scheme, source, record.method)
    choices = CompileOptions(
        target,
        OptLevel(build.level),
        build.interface.name,
        build.dims,
        quantization=quantization,
    )
    compilation = compile_model(model, choices, observers=[ctx.ensure_object(Session)])
    if record is not None and compilation.quantized is not None:
        _check_calibration(record, compilation.quantized.record, calibrate)
    return compilation


def _check_calibration(
    built: "QuantizationRecord", again: "QuantizationRecord", calibrate: Path | None
) -> None:
    from lepton_cc.ir.diagnostics import Code, refuse

    if built.data_sha256 != again.data_sha256:
        raise refuse(
            Code.BAD_CALIBRATION_DATA,
            f"{calibrate} holds other data than those that the build was calibrated with",
            hint="give the same file, or none: then outputs are compared, and no layers",
        )
