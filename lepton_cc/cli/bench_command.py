"""`lepton bench DIR|MODEL.onnx`: how long a run takes, here and in ONNX Runtime, and where."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.profile_table import print_profile, profile_fields
from lepton_cc.cli.tables import Cell, print_table

if TYPE_CHECKING:
    from lepton_cc.ir.tensor import Array
    from lepton_cc.measure.bench import BenchOptions, BenchResult, Contender
    from lepton_cc.measure.peak import Peaks
    from lepton_cc.saved_model import SavedModel

_ONNXRUNTIME = "onnxruntime"


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="DIR|MODEL.onnx")
@options.level
@options.target("host")
@options.dims
@click.option(
    "--against",
    metavar="onnxruntime|MODEL.onnx",
    help="Time ONNX Runtime in turns; of a DIR, on the file that it was made from.",
)
@click.option("--data", type=options.FILE, metavar="DATA.npz", help="Inputs [default: made up].")
@click.option(
    "--runs", type=click.IntRange(1), default=1000, show_default=True, metavar="N", help="Of each."
)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Of each."
)
@click.option("--profile", is_flag=True, help="Time each layer; a DIR needs code with hooks.")
@options.as_json
@click.pass_context
def bench(
    ctx: click.Context,
    *,
    model: Path,
    level: str,
    target: str,
    dims: tuple[str, ...],
    against: str | None,
    data: Path | None,
    runs: int,
    threads: int,
    profile: bool,
    as_json: bool,
) -> None:
    """Times one inference: the least of turns of some milliseconds, on pinned CPUs.

    A MODEL.onnx is compiled for it; -O, --target and --dim are for that. A DIR for an emulated core
    is run once, and its instructions are counted.
    """
    from lepton_cc.measure.bench import BenchOptions, SavedContender, bench
    from lepton_cc.saved_model import SavedModel

    opponent = _opponent(model, against)
    choices = BenchOptions(runs, threads, opponent, profile)
    if not model.is_dir():
        contender, inputs = _compiled(ctx, model, (level, target, dims), data)
    else:
        saved = SavedModel(model)
        inputs = _inputs(saved, data)
        if saved.emulated is not None:
            _count(saved, inputs, choices, as_json=as_json)
            return
        contender = SavedContender(saved, inputs)
    _show(contender, bench(contender, inputs, choices), as_json=as_json)


def _opponent(model: Path, against: str | None) -> Path | None:
    """The file that ONNX Runtime runs."""
    if against is None:
        return None
    if against != _ONNXRUNTIME:
        return Path(against)
    if model.is_dir():
        raise click.BadParameter(
            f"{model} does not hold the model: give its file, --against MODEL.onnx",
            param_hint="--against",
        )
    return model


def _compiled(
    ctx: click.Context, model: Path, choices: tuple[str, str, tuple[str, ...]], data: Path | None
) -> "tuple[Contender, dict[str, Array]]":
    from lepton_cc.codegen.targets.loader import load_target
    from lepton_cc.compiler import CompileOptions, compile_model
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.ir.target import Execution
    from lepton_cc.levels import OptLevel
    from lepton_cc.measure.bench import CompiledContender
    from lepton_cc.sample_inputs import read_inputs, samples
    from lepton_cc.verify.quantized_graph import calibrated_inputs

    level, name, dims = choices
    target = load_target(name)
    if target.execution is not Execution.NATIVE:
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"{target.name} is emulated: its time means nothing",
            hint="compile the model with lepton-cc, and count: lepton bench DIR",
        )
    chosen = CompileOptions(target, OptLevel(level), dims=options.read_dims(dims))
    compilation = compile_model(model, chosen, observers=[ctx.ensure_object(Session)])
    if data is None:
        inputs = calibrated_inputs(compilation.imported, seed=0)
    else:
        inputs = next(samples(compilation.program.inputs, read_inputs([str(data)])))
    return CompiledContender(compilation, inputs), inputs


def _inputs(saved: "SavedModel", data: Path | None) -> "dict[str, Array]":
    from lepton_cc.sample_inputs import made_up_inputs, read_inputs, samples

    ports = saved.build.interface.inputs
    return made_up_inputs(ports) if data is None else next(samples(ports, read_inputs([str(data)])))


def _show(contender: "Contender", result: "BenchResult", *, as_json: bool) -> None:
    peaks = _peaks(contender) if result.profile else None
    if as_json:
        click.echo(json.dumps(_fields(contender, result, peaks), indent=2))
        return
    rows: list[tuple[Cell, ...]] = [
        ("lepton-cc", f"{result.seconds * 1e6:,.2f}", f"{result.gmacs:,.1f}", "")
    ]
    if result.opponent_seconds is not None:
        gmacs = result.num_macs / result.opponent_seconds / 1e9
        rows.append(
            (
                f"ONNX Runtime {result.opponent_version}",
                f"{result.opponent_seconds * 1e6:,.2f}",
                f"{gmacs:,.1f}",
                f"{result.ratio:.2f} times as long",
            )
        )
    threads = f"{result.num_threads} thread{'s' if result.num_threads > 1 else ''}"
    title = f"one run, {contender.target.name}, {threads}, {result.num_macs:,} MACs"
    print_table(title, ("", "us", "GMAC/s", ""), rows)
    if result.profile:
        click.echo()
        print_profile("layers, one thread", result.profile, peaks)


def _peaks(contender: "Contender") -> "Peaks":
    from lepton_cc.measure.peak import measured_peaks
    from lepton_cc.measure.turns import pinned

    with pinned(1):
        return measured_peaks(contender.target)


def _fields(
    contender: "Contender", result: "BenchResult", peaks: "Peaks | None"
) -> dict[str, object]:
    return {
        "target": contender.target.name,
        "threads": result.num_threads,
        "cpus": list(result.cpus),
        "seconds": result.seconds,
        "num_macs": result.num_macs,
        "gmacs": result.gmacs,
        "onnxruntime": {"version": result.opponent_version, "seconds": result.opponent_seconds}
        if result.opponent_seconds is not None
        else None,
        "ratio": result.ratio,
        "peak_gmacs": {"f32": peaks.f32, "i8": peaks.i8} if peaks else None,
        "profile": profile_fields(result.profile, peaks),
    }


def _count(
    saved: "SavedModel", inputs: "dict[str, Array]", choices: "BenchOptions", *, as_json: bool
) -> None:
    """Instructions of an emulated core, and cycles of its tensor engine, with what each did."""
    from lepton_cc.measure.saved_profile import emulated_profile

    if choices.against is not None or choices.num_threads != 1:
        raise click.UsageError("an emulated core has no time to compare, and one thread")
    assert saved.emulated is not None
    saved.run(inputs)
    assert saved.emulated.last is not None
    instructions = saved.emulated.last.instructions
    # A layer with cycles is a segment of the engine.
    num_macs = sum(layer.num_macs for layer in saved.build.layers if not layer.cycles)
    engine_macs = sum(layer.num_macs for layer in saved.build.layers if layer.cycles)
    engine_cycles = saved.emulated.engine_cycles
    rows = emulated_profile(saved) if choices.profile else ()
    if as_json:
        document = {
            "target": saved.build.target.name,
            "instructions": instructions,
            "num_macs": num_macs,
            "instructions_per_mac": instructions / num_macs if num_macs else None,
            "engine_cycles": engine_cycles,
            "engine_macs": engine_macs,
            "profile": profile_fields(rows),
        }
        click.echo(json.dumps(document, indent=2))
        return
    a_mac = f", {instructions / num_macs:.2f} a MAC" if num_macs else ""
    click.echo(f"{saved.build.target.name}: {instructions:,} instructions{a_mac}")
    if engine_cycles:
        rate = engine_macs / engine_cycles
        click.echo(f"tensor engine: {engine_cycles:,} cycles, {rate:.1f} multiply-adds a cycle")
    if rows:
        print_profile("layers", rows)
