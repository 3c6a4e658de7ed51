"""`lepton-cc MODEL.onnx`: compiles a model and writes its artifacts."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import lepton_cc as package
from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand, Session
from lepton_cc.cli.progress import progress

if TYPE_CHECKING:
    from lepton_cc.artifacts.emit import Artifacts, EmitKind
    from lepton_cc.compiled_model import CompiledModel
    from lepton_cc.compiler import Compilation, CompileOptions
    from lepton_cc.ir.target import Target
    from lepton_cc.passes.manager import Observer

DEFAULT_TARGET = "x86-64"


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The command line's choices that are about output."""

    out: Path | None
    emit: str
    dump_ir: Path | None
    print_ir_after: tuple[str, ...]
    verify: bool
    as_json: bool
    verbosity: int
    quiet: bool


@click.command(cls=GuardedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=options.FILE, metavar="MODEL.onnx|MODEL.lir")
@options.level
@options.target(DEFAULT_TARGET)
@click.option("-o", "out", type=options.FILE, metavar="DIR", help="Where to [default: build/NAME]")
@click.option("--name", default="", metavar="IDENT", help="Prefix of all symbols and files.")
@click.option(
    "--emit",
    default="",
    metavar="KIND,...",
    help="lib, obj, asm, c, llvm, ir, program, elf [default: lib, and elf for a bare-metal core]",
)
@options.system
@options.profile_machine
@options.sram_budget
@options.dims
@options.quantize
@options.calibrate
@options.calibration_method
@options.interface
@options.self_test
@options.require_integer
@click.option("--dump-ir", type=options.FILE, metavar="DIR", help="Write the graph of each pass.")
@click.option(
    "--print-ir-after", multiple=True, metavar="PASS|all", help="Print the graph after a pass."
)
@click.option("--verify", is_flag=True, help="Compare the result with ONNX Runtime.")
@click.option("--profile", is_flag=True, help="Put hooks into the code that time each layer.")
@options.as_json
@click.option("-v", "verbosity", count=True, help="Say more; -vv shows tracebacks.")
@click.option("-q", "quiet", is_flag=True, help="Say nothing but errors.")
@click.option(
    "-j",
    "jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Work that may run at the same time; the output does not depend on it.",
)
@click.version_option(package.__version__, prog_name="lepton-cc")
@click.pass_context
def lepton_cc(
    ctx: click.Context,
    *,
    model: Path,
    level: str,
    target: str,
    out: Path | None,
    name: str,
    emit: str,
    system: str | None,
    profile_machine: str | None,
    sram_budget: str | None,
    dims: tuple[str, ...],
    quantize: str | None,
    calibrate: Path | None,
    calibration_method: str | None,
    interface: str,
    self_test: bool,
    require_integer: bool,
    dump_ir: Path | None,
    print_ir_after: tuple[str, ...],
    verify: bool,
    profile: bool,
    as_json: bool,
    verbosity: int,
    quiet: bool,
    jobs: int,
) -> None:
    """Compiles an ONNX model, or the graph of one, into the code that runs it."""
    from lepton_cc.calibration.quantize import quantization_options
    from lepton_cc.cli.engine_options import CURVE, with_engine_options
    from lepton_cc.codegen.targets.loader import load_target
    from lepton_cc.compiler import CompileOptions
    from lepton_cc.frontend.model_source import is_graph
    from lepton_cc.levels import OptLevel

    if verify and is_graph(model):
        raise click.UsageError(f"--verify: ONNX Runtime cannot run {model}; verify the ONNX model")
    wishes = _Wishes(out, emit, dump_ir, print_ir_after, verify, as_json, verbosity, quiet)
    session = ctx.ensure_object(Session)
    session.verbosity = verbosity
    chosen = with_engine_options(load_target(target), system, profile_machine, sram_budget)
    _emit_kinds(emit, chosen)
    choices = CompileOptions(
        chosen,
        OptLevel(level),
        name,
        options.read_dims(dims),
        require_integer=require_integer,
        profile=profile,
        quantization=quantization_options(quantize, calibrate, calibration_method, chosen),
        integer_ports=interface == "quantized",
        self_test=self_test,
    )
    if sram_budget == CURVE:
        _print_curve(model, choices, wishes, session)
    else:
        _compile(model, choices, wishes, session, jobs)


def _print_curve(model: Path, choices: "CompileOptions", wishes: _Wishes, session: Session) -> None:
    from lepton_cc.cli.engine_options import print_curve
    from lepton_cc.compiler import compile_model

    with progress(quiet=wishes.quiet) as tell:
        compilation = compile_model(model, choices, observers=[session], progress=tell)
        tell("budgets")
        print_curve(compilation, as_json=wishes.as_json)


def _compile(
    model: Path, choices: "CompileOptions", wishes: _Wishes, session: Session, jobs: int
) -> None:
    from lepton_cc.artifacts.emit import Artifacts
    from lepton_cc.compiler import compile_model
    from lepton_cc.frontend.model_source import model_sha256

    observers = _observers(wishes, session)
    with progress(quiet=wishes.quiet) as tell:
        compilation = compile_model(model, choices, observers=observers, progress=tell)
        _dump_program(compilation, wishes)
        kinds = _kinds_that_can_be(wishes, choices.target)
        artifacts = Artifacts(compilation, jobs=jobs)
        if wishes.verify:
            tell("verify")
            _verify(model, artifacts)
        tell("codegen")
        folder = wishes.out or Path("build") / compilation.program.name
        artifacts.write(folder, kinds, model_sha256(model))
    _report(artifacts, folder, wishes)


def _emit_kinds(emit: str, target: "Target") -> "tuple[EmitKind, ...]":
    from lepton_cc.artifacts.emit import EmitKind
    from lepton_cc.ir.target import Execution

    try:
        kinds = tuple(EmitKind(word) for word in emit.split(",") if word)
    except ValueError as error:
        known = ", ".join(EmitKind)
        raise click.BadParameter(f"{error}; there are {known}", param_hint="--emit") from None
    if EmitKind.ELF in kinds and target.execution is not Execution.CONTROL_CORE:
        raise click.BadParameter(
            f"elf: {target.name} is no bare-metal target; link the library", param_hint="--emit"
        )
    return kinds


def _kinds_that_can_be(wishes: _Wishes, target: "Target") -> "tuple[EmitKind, ...]":
    """What was asked for; by default an image only where a tool chain can link one."""
    from lepton_cc.artifacts.emit import EmitKind
    from lepton_cc.artifacts.firmware import has_toolchain
    from lepton_cc.compiled_model import default_kinds

    kinds = _emit_kinds(wishes.emit, target)
    if kinds:
        return kinds
    kinds = default_kinds(target.execution)
    if EmitKind.ELF in kinds and not has_toolchain(target):
        _note("no tool chain links an image here; pip install 'lepton-cc[link]'", wishes)
        return tuple(kind for kind in kinds if kind is not EmitKind.ELF)
    return kinds


def _observers(wishes: _Wishes, session: Session) -> "list[Observer]":
    from lepton_cc.passes.catalogue import PASSES
    from lepton_cc.passes.observers import ALL, DumpGraphs, PrintAfter

    observers: list[Observer] = [session]
    for name in wishes.print_ir_after:
        if name not in (ALL, "import") and name not in PASSES:
            raise click.BadParameter(
                f"there is no pass {name!r}; there are {', '.join(PASSES.names())}",
                param_hint="--print-ir-after",
            )
    if wishes.print_ir_after:
        stream = sys.stderr if wishes.as_json else sys.stdout
        observers.append(PrintAfter(wishes.print_ir_after, stream))
    if wishes.dump_ir is not None:
        observers.append(DumpGraphs(wishes.dump_ir))
    return observers


def _dump_program(compilation: "Compilation", wishes: _Wishes) -> None:
    from lepton_cc.codegen.program import print_program
    from lepton_cc.ir.lir_file import write_atomically

    if wishes.dump_ir is not None:
        text = print_program(compilation.program)
        write_atomically(text.encode(), wishes.dump_ir / "program.txt")


def _verify(model: Path, artifacts: "Artifacts") -> None:
    from lepton_cc.cli.verify_command import refuse_if_beyond, refuse_if_diverging
    from lepton_cc.compiled_model import CompiledModel
    from lepton_cc.verify.quantized import Task, verify_quantized
    from lepton_cc.verify.quantized_graph import calibrated_inputs, is_quantized
    from lepton_cc.verify.reference import onnxruntime_run, output_differences

    compilation = artifacts.compilation
    compiled = CompiledModel(compilation, "")
    if compilation.quantized is not None:
        _verify_quantization(model, compilation, compiled)
        return
    inputs = [calibrated_inputs(compilation.imported, seed=0)]
    if is_quantized(compilation.imported):
        task = Task(inputs, layers=False)
        refuse_if_diverging(verify_quantized(compiled.run, compilation, model, task))
        return
    names = [port.name for port in compiled.outputs]
    refuse_if_beyond(output_differences(compiled.run, onnxruntime_run(model), inputs, names))


def _verify_quantization(
    model: Path, compilation: "Compilation", compiled: "CompiledModel"
) -> None:
    """Compares the integers with the interpreter; how good they are, `lepton verify` tells."""
    from lepton_cc.cli.post_training_report import refuse_if_integers_differ
    from lepton_cc.verify.post_training import verify_post_training
    from lepton_cc.verify.quantized import Task
    from lepton_cc.verify.quantized_graph import calibrated_inputs

    assert compilation.quantized is not None
    task = Task([calibrated_inputs(compilation.imported, seed=0)], layers=False)
    scales = compilation.quantized.record.output_scales
    refuse_if_integers_differ(verify_post_training(compiled.run, model, task, scales, compilation))


def _note(text: str, wishes: _Wishes) -> None:
    if not wishes.quiet:
        click.echo(f"note: {text}", err=True)


def _report(artifacts: "Artifacts", folder: Path, wishes: _Wishes) -> None:
    from lepton_cc.artifacts.output_folder import MANIFEST
    from lepton_cc.cli.compile_report import print_passes, print_summary
    from lepton_cc.engine_report.summary import core_notes

    target = artifacts.compilation.program.target
    for note in target.notes:
        _note(f"{target.name}: {note}", wishes)
    for note in () if artifacts.engine is None else core_notes(artifacts.engine):
        _note(f"{target.name}: {note}", wishes)
    quantized = artifacts.compilation.quantized
    if quantized is not None and quantized.record.warning:
        click.echo(f"warning: {quantized.record.warning}", err=True)
    if wishes.as_json:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        click.echo(json.dumps({"folder": str(folder), **document}, indent=2, ensure_ascii=False))
    elif not wishes.quiet:
        print_summary(artifacts, folder)
        if wishes.verbosity:
            print_passes(artifacts.compilation)
