"""The program's part of `lepton inspect`: memory, layers, the map of the arena, passes, floats."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.engine_report.document import EngineReport
    from lepton_cc.passes.memory import MemoryPlan
    from lepton_cc.passes.quantize.float_ops import FloatOp
    from lepton_cc.report import LayerReport, MemoryReport

_MAX_NODES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Inspected:
    """A compiled model as `inspect` shows it, be it from a folder or just compiled.

    `floats`: what stayed float of a quantized model; None of another, or where it is unknown.
    `engine` and `payload`: of a target that has a tensor engine.
    """

    name: str
    target: str
    memory: "MemoryReport"
    layers: "Sequence[LayerReport]"
    plan: "MemoryPlan"
    passes: Sequence[dict[str, object]]
    floats: "Sequence[FloatOp] | None" = None
    engine: "EngineReport | None" = None
    payload: bytes = b""


def program_fields(inspected: Inspected) -> dict[str, object]:
    """The program as JSON."""
    document: dict[str, object] = {
        "memory": dataclasses.asdict(inspected.memory),
        "layers": [dataclasses.asdict(layer) for layer in inspected.layers],
        "plan": json.loads(inspected.plan.to_json()),
        "passes": list(inspected.passes),
    }
    if inspected.floats is not None:
        document["float_ops"] = [
            {"operation": o.op.kind.mnemonic, "nodes": o.op.location.nodes, "reason": o.reason}
            for o in inspected.floats
        ]
    return document


def print_program(inspected: Inspected) -> None:
    """The program as text."""
    _print_memory(inspected.memory)
    _print_layers(inspected.layers)
    _print_plan(inspected.plan)
    _print_passes(inspected.passes)
    if inspected.floats is not None:
        _print_floats(inspected.floats)


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
                _nodes(layer.nodes),
            )
            for layer in layers
        ],
    )
    click.echo()


def _nodes(nodes: Sequence[str]) -> str:
    """The names; of a segment of the engine, whose layers are listed below, the ends."""
    if len(nodes) <= _MAX_NODES_SHOWN:
        return " ".join(nodes)
    return f"{nodes[0]} ... {nodes[-1]} ({len(nodes)} nodes)"


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
