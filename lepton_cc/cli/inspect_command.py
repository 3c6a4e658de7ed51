"""`lepton inspect`: layers, memory map and passes of a model, a graph or a compiled folder."""

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
    from lepton_cc.compiler import Compilation
    from lepton_cc.ir.graph import Graph
    from lepton_cc.passes.memory import MemoryPlan
    from lepton_cc.passes.quantize.float_ops import FloatOp
    from lepton_cc.report import LayerReport, MemoryReport

_LIR = ".lir"


@click.command(cls=GuardedCommand)
@click.argument("model", type=options.FILE, metavar="MODEL.onnx|MODEL.lir|DIR")
@options.level
@options.target("x86-64")
@options.dims
@options.as_json
@click.pass_context
def inspect(
    ctx: click.Context,
    *,
    model: Path,
    level: str,
    target: str,
    dims: tuple[str, ...],
    as_json: bool,
) -> None:
    """Shows layers with shapes, multiply-adds and bytes, and the map of the arena.

    A model is compiled for it, in memory; -O, --target and --dim are for that.
    """
    if model.suffix == _LIR:
        _inspect_graph(model, as_json)
    elif model.is_dir():
        _inspect_folder(model, as_json)
    else:
        _inspect_model(model, ctx.ensure_object(Session), (level, target, dims), as_json)


def _inspect_graph(model: Path, as_json: bool) -> None:
    from lepton_cc.codegen.costs import num_macs
    from lepton_cc.ir.lir_file import read_lir

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
    if as_json:
        keys = ("operation", "results", "num_macs", "nodes")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
    else:
        print_table(f"ops of {graph.name}", ("op", "results", "MACs", "ONNX nodes"), rows)


def _inspect_folder(folder: Path, as_json: bool) -> None:
    from lepton_cc.artifacts.manifest import read_build
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.passes.memory import MemoryPlan

    build = read_build(folder)
    name = f"{build.interface.name}.plan.json"
    try:
        plan = MemoryPlan.from_json(build.content(name).decode())
    except (OSError, ValueError) as error:
        raise refuse(Code.MODEL_UNREADABLE, f"{folder / name}: {error}") from error
    passes = [dict(fields) for fields in build.passes]
    _show(build.memory, build.layers, plan, passes, None, as_json)


def _inspect_model(
    model: Path, session: Session, choices: tuple[str, str, tuple[str, ...]], as_json: bool
) -> None:
    from lepton_cc.artifacts.emit import Artifacts
    from lepton_cc.artifacts.manifest import pass_fields
    from lepton_cc.codegen.targets.loader import load_target
    from lepton_cc.compiler import CompileOptions, compile_model
    from lepton_cc.levels import OptLevel

    level, target, dims = choices
    chosen = CompileOptions(load_target(target), OptLevel(level), dims=options.read_dims(dims))
    compilation = compile_model(model, chosen, observers=[session])
    artifacts = Artifacts(compilation)
    passes = pass_fields(compilation)
    floats = compilation.float_ops if _is_quantized(compilation) else None
    _show(artifacts.memory, artifacts.layers, compilation.program.plan, passes, floats, as_json)


def _is_quantized(compilation: "Compilation") -> bool:
    from lepton_cc.passes.quantize.raise_integers import RaiseIntegers

    return any(r.name == RaiseIntegers.NAME and r.rewrites for r in compilation.records)


def _show(
    memory: "MemoryReport",
    layers: "Sequence[LayerReport]",
    plan: "MemoryPlan",
    passes: Sequence[dict[str, object]],
    floats: "Sequence[FloatOp] | None",
    as_json: bool,
) -> None:
    """`floats`: what stayed float of a quantized model; None of another, or where it is unknown."""
    if as_json:
        document = {
            "memory": dataclasses.asdict(memory),
            "layers": [dataclasses.asdict(layer) for layer in layers],
            "plan": json.loads(plan.to_json()),
            "passes": list(passes),
        }
        if floats is not None:
            document["float_ops"] = [
                {"operation": o.op.kind.mnemonic, "nodes": o.op.location.nodes, "reason": o.reason}
                for o in floats
            ]
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _print_memory(memory)
    _print_layers(layers)
    _print_plan(plan)
    _print_passes(passes)
    if floats is not None:
        _print_floats(floats)


def _print_floats(floats: "Sequence[FloatOp]") -> None:
    click.echo()
    if not floats:
        click.echo("integers throughout: nothing stays float between the inputs and the outputs")
        return
    print_table(
        "what stays float",
        ("operation", "why", "ONNX nodes"),
        [(o.op.kind.mnemonic, o.reason, " ".join(o.op.location.nodes)) for o in floats],
    )


def _print_memory(memory: "MemoryReport") -> None:
    proven = (
        "proven optimal" if memory.proven_optimal else f"lower bound {memory.lower_bound_bytes:,}"
    )
    peak = ", ".join(f"{tensor.name} {tensor.size_bytes:,}" for tensor in memory.peak_tensors)
    print_table(
        "memory",
        ("what", "bytes", ""),
        [
            ("arena", memory.arena_bytes, proven),
            ("stack", memory.stack_bytes, "worst case of a run"),
            ("inputs", memory.inputs_bytes, ""),
            ("outputs", memory.outputs_bytes, ""),
            ("RAM", memory.ram_bytes, "the sum of these"),
            ("code", memory.code_bytes, ""),
            ("constants", memory.constants_bytes, ""),
            ("flash", memory.flash_bytes, "the sum of these two"),
        ],
    )
    if memory.peak_layer:
        click.echo(f"peak: {memory.peak_layer}: {peak or 'nothing in the arena'}\n")


def _print_layers(layers: "Sequence[LayerReport]") -> None:
    print_table(
        "layers",
        ("#", "operation", "result", "MACs", "bytes read", "bytes written", "ONNX nodes"),
        [
            (
                layer.number,
                layer.operation,
                f"%{layer.result}: {layer.dtype}[{', '.join(map(str, layer.shape))}]",
                layer.num_macs,
                layer.read_bytes,
                layer.written_bytes,
                " ".join(layer.nodes),
            )
            for layer in layers
        ],
    )
    click.echo()


def _print_plan(plan: "MemoryPlan") -> None:
    print_table(
        "arena",
        ("offset", "bytes", "from", "to", "buffer", "shares bytes with"),
        [
            (
                placement.offset,
                placement.buffer.size_bytes,
                placement.buffer.first_step,
                placement.buffer.last_step,
                placement.buffer.name,
                ", ".join(f"{alias.of} ({alias.kind.value})" for alias in placement.aliases),
            )
            for placement in sorted(plan.placements, key=lambda p: (p.offset, p.buffer.name))
            if placement.buffer.size_bytes
        ],
    )
    click.echo()


def _print_passes(passes: Sequence[dict[str, object]]) -> None:
    print_table(
        "passes",
        ("pass", "ops before", "ops after", "rewrites"),
        [
            (
                str(fields["name"]),
                str(fields["num_ops_before"]),
                str(fields["num_ops_after"]),
                _rewrites(fields["rewrites"]),
            )
            for fields in passes
        ],
    )


def _rewrites(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{law} {count}" for law, count in counts.items())
