"""`lepton inspect`: a model, a graph, a payload or a compiled folder, as text, JSON or a page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.inspect_engine import LPT, View, engine_fields, print_engine, read_payload
from lepton_cc.cli.inspect_program import Inspected, print_program, program_fields
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.compiler import Compilation, CompileOptions
    from lepton_cc.ir.graph import Graph

_LIR = ".lir"


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="MODEL.onnx|MODEL.lir|FILE.lpt|DIR")
@options.level
@options.target("x86-64")
@options.system
@options.profile_machine
@options.dims
@options.quantize
@options.calibrate
@options.calibration_method
@click.option("--disassemble", is_flag=True, help="List the tensor engine's packets.")
@click.option("--timeline", is_flag=True, help="Draw the tensor engine's queues over time.")
@click.option("--html", type=options.FILE, metavar="FILE", help="Write a page of it all.")
@click.option(
    "--mhz",
    type=click.FloatRange(0, min_open=True),
    default=500,
    show_default=True,
    metavar="N",
    help="The tensor engine's clock, for milliseconds.",
)
@options.as_json
@click.pass_context
def inspect(
    ctx: click.Context,
    *,
    model: Path,
    level: str,
    target: str,
    system: str | None,
    profile_machine: str | None,
    dims: tuple[str, ...],
    quantize: str | None,
    calibrate: Path | None,
    calibration_method: str | None,
    disassemble: bool,
    timeline: bool,
    html: Path | None,
    mhz: float,
    as_json: bool,
) -> None:
    """Shows layers with shapes, multiply-adds and bytes, the map of the arena, the tensor engine.

    A model is compiled for it, in memory; -O, --target, --system, --profile-machine, --dim,
    --quantize and --calibrate are for that.
    """
    view = View(disassemble, timeline, html, mhz, as_json)
    if model.suffix == _LIR:
        _inspect_graph(model, view)
    elif model.suffix == LPT:
        _inspect_payload(model, system, profile_machine, view)
    elif model.is_dir():
        _inspect_folder(model, view)
    else:
        from lepton_cc.calibration.quantize import quantization_options
        from lepton_cc.cli.engine_options import with_engine_options
        from lepton_cc.codegen.targets.loader import load_target
        from lepton_cc.compiler import CompileOptions
        from lepton_cc.levels import OptLevel

        chosen = with_engine_options(load_target(target), system, profile_machine)
        choices = CompileOptions(
            chosen,
            OptLevel(level),
            dims=options.read_dims(dims),
            quantization=quantization_options(quantize, calibrate, calibration_method, chosen),
        )
        _inspect_model(model, ctx.ensure_object(Session), choices, view)


def _inspect_graph(model: Path, view: View) -> None:
    from lepton_cc.codegen.costs import num_macs
    from lepton_cc.ir.lir_file import read_lir

    view.refuse_engine_options("a graph")
    if view.html is not None:
        raise click.UsageError("--html: a graph has no page; compile it")
    graph: Graph = read_lir(model)
    rows = [
        (
            op.kind.mnemonic,
            ", ".join(f"%{result.name}: {result.type}" for result in op.results),
            num_macs(op) if all(value.type.is_static for value in (*op.inputs, *op.results)) else 0,
            str(op.location),
        )
        for op in graph.ops
    ]
    if view.as_json:
        keys = ("operation", "results", "num_macs", "nodes")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
    else:
        print_table(f"ops of {graph.name}", ("op", "results", "MACs", "ONNX nodes"), rows)


def _inspect_payload(path: Path, system: str | None, machine_name: str | None, view: View) -> None:
    report, payload = read_payload(path, system, machine_name)
    if view.html is not None:
        from lepton_cc.html_report.model_page import engine_page

        _write(engine_page(report, view.mhz), view.html)
    if view.as_json:
        _echo_json(engine_fields(report, payload, view))
    else:
        print_engine(report, payload, view)


def _inspect_folder(folder: Path, view: View) -> None:
    from lepton_cc.artifacts.engine_files import read_engine_report, read_payload_file
    from lepton_cc.artifacts.manifest import read_build
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.passes.memory import MemoryPlan

    build = read_build(folder)
    name = f"{build.interface.name}.plan.json"
    try:
        plan = MemoryPlan.from_json(build.content(name).decode())
    except (OSError, ValueError) as error:
        raise refuse(Code.MODEL_UNREADABLE, f"{folder / name}: {error}") from error
    inspected = Inspected(
        build.interface.name,
        build.target.name,
        build.memory,
        build.layers,
        plan,
        [dict(fields) for fields in build.passes],
        engine=read_engine_report(build),
        payload=read_payload_file(build),
    )
    _show(inspected, view)


def _inspect_model(model: Path, session: Session, choices: "CompileOptions", view: View) -> None:
    from lepton_cc.artifacts.emit import Artifacts
    from lepton_cc.artifacts.manifest import pass_fields
    from lepton_cc.compiler import compile_model

    compilation = compile_model(model, choices, observers=[session])
    artifacts = Artifacts(compilation)
    program = compilation.program
    inspected = Inspected(
        program.name,
        program.target.name,
        artifacts.memory,
        artifacts.layers,
        program.plan,
        pass_fields(compilation),
        compilation.float_ops if _is_quantized(compilation) else None,
        artifacts.engine,
        b"" if program.engine is None else program.engine.payload,
    )
    _show(inspected, view)


def _show(inspected: Inspected, view: View) -> None:
    if inspected.engine is None:
        view.refuse_engine_options(inspected.target)
    if view.html is not None:
        from lepton_cc.html_report.model_page import model_page

        content = model_page(
            inspected.name,
            inspected.memory,
            inspected.layers,
            inspected.plan,
            inspected.engine,
            view.mhz,
        )
        _write(content, view.html)
    if view.as_json:
        document = program_fields(inspected)
        if inspected.engine is not None:
            document["engine"] = engine_fields(inspected.engine, inspected.payload, view)
        _echo_json(document)
        return
    print_program(inspected)
    if inspected.engine is not None:
        click.echo()
        print_engine(inspected.engine, inspected.payload, view)


def _write(content: str, path: Path) -> None:
    from lepton_cc.ir.lir_file import write_atomically

    write_atomically(content.encode(), path)


def _echo_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _is_quantized(compilation: "Compilation") -> bool:
    from lepton_cc.passes.quantize.raise_integers import RaiseIntegers

    return any(r.name == RaiseIntegers.NAME and r.rewrites for r in compilation.records)
