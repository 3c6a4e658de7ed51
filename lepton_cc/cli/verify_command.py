"""`lepton verify DIR --against MODEL.onnx`: how far the compiled model is from the original."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.artifacts.manifest import Build
    from lepton_cc.codegen.program import Port
    from lepton_cc.ir.tensor import Array
    from lepton_cc.verify.difference import Difference

_HEADINGS = ("", "elements", "different", "max abs", "max rel", "max ulp", "argmax flips", "beyond")
_MADE_UP_SAMPLES = 4


@click.command(cls=GuardedCommand)
@click.argument("folder", type=options.FILE, metavar="DIR")
@click.option("--against", required=True, type=options.FILE, metavar="MODEL.onnx")
@click.option("--data", type=options.FILE, metavar="DATA.npz", help="Inputs [default: made up].")
@click.option("--layers/--no-layers", default=True, help="Compare each layer with NumPy, too.")
@options.as_json
@click.pass_context
def verify(
    ctx: click.Context,
    *,
    folder: Path,
    against: Path,
    data: Path | None,
    layers: bool,
    as_json: bool,
) -> None:
    """Compares outputs with ONNX Runtime, and each layer with the NumPy interpreter.

    Layers are those of a build for this machine with the same options. Fails if an output is
    farther than one step (integers) or the tolerance of its type (floats).
    """
    from lepton_cc.saved_model import SavedModel
    from lepton_cc.verify.reference import onnxruntime_run, output_differences

    model = SavedModel(folder)
    build = model.build
    _check_model(build, against)
    samples = _samples(build.interface.inputs, data)
    names = [port.name for port in build.interface.outputs]
    outputs = output_differences(model.run, onnxruntime_run(against), samples, names)
    by_layer = _layers(ctx, build, against, samples[0]) if layers else ()
    if as_json:
        document = {
            "samples": len(samples),
            "outputs": [dataclasses.asdict(one) for one in outputs],
            "layers": [dataclasses.asdict(one) for one in by_layer],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        print_table(
            f"outputs against ONNX Runtime, {len(samples)} samples", _HEADINGS, _rows(outputs)
        )
        if by_layer:
            print_table("layers against NumPy, first sample", _HEADINGS, _rows(by_layer))
    refuse_if_beyond(outputs)


def refuse_if_beyond(outputs: "Sequence[Difference]") -> None:
    """Refuses outputs that are too far from their reference.

    Raises:
        Refused: an output is; all that are, are named.
    """
    from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused

    complaints = [
        Diagnostic(
            Code.CHECK_FAILED,
            f"output {one.name!r}: {one.num_beyond} of {one.num_elements} elements are too far "
            f"from the reference, by up to {one.max_abs:.3g}",
            hint="find the layer where it begins with `lepton verify DIR --against MODEL.onnx`",
        )
        for one in outputs
        if not one.is_within
    ]
    if complaints:
        raise Refused(complaints)


def _check_model(build: "Build", against: Path) -> None:
    from lepton_cc.frontend.model_source import model_sha256

    if model_sha256(against) != build.model_sha256:
        click.echo(f"note: {against} is not the file that {build.folder} was made from", err=True)


def _samples(ports: "Sequence[Port]", data: Path | None) -> "list[dict[str, Array]]":
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.sample_inputs import made_up_inputs, read_inputs, samples

    if data is None:
        return [made_up_inputs(ports, seed) for seed in range(_MADE_UP_SAMPLES)]
    found = list(samples(ports, read_inputs([str(data)])))
    if not found:
        raise refuse(Code.BAD_INPUT_DATA, f"{data} holds no sample")
    return found


def _layers(
    ctx: click.Context, build: "Build", model: Path, sample: "dict[str, Array]"
) -> "tuple[Difference, ...]":
    from lepton_cc.codegen.targets.loader import HOST, load_target, runs_on_this_machine
    from lepton_cc.compiler import CompileOptions, compile_model
    from lepton_cc.levels import OptLevel
    from lepton_cc.verify.layers import layer_differences

    target = build.target if runs_on_this_machine(build.target) else load_target(HOST)
    choices = CompileOptions(target, OptLevel(build.level), build.interface.name, build.dims)
    session = ctx.ensure_object(Session)
    return layer_differences(compile_model(model, choices, observers=[session]), sample)


def _rows(differences: "Sequence[Difference]") -> list[tuple[str | int | float, ...]]:
    return [
        (
            one.name,
            one.num_elements,
            one.num_different,
            one.max_abs,
            one.max_rel,
            one.max_ulp,
            f"{one.argmax_flips} of {one.num_rows}",
            one.num_beyond,
        )
        for one in differences
    ]
