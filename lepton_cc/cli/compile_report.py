"""What `lepton-cc` prints when it is done: the sizes, and with -v what each pass did."""

from pathlib import Path

import click

from lepton_cc.artifacts.emit import Artifacts
from lepton_cc.cli.tables import print_table
from lepton_cc.compiler import Compilation
from lepton_cc.engine_report.document import EngineReport


def print_summary(artifacts: Artifacts, folder: Path) -> None:
    """A line for each memory, and where the files are."""
    memory = artifacts.memory
    program = artifacts.compilation.program
    macs = sum(layer.num_macs for layer in artifacts.layers)
    proven = "optimal" if memory.proven_optimal else f"{memory.gap_bytes:,} above the lower bound"
    ram = f"arena {memory.arena_bytes:,} ({proven}), stack {memory.stack_bytes:,}"
    click.echo(
        f"{program.name} for {program.target.name}: {len(artifacts.layers)} kernel calls, "
        f"{macs:,} multiply-adds\n"
        f"RAM   {memory.ram_bytes:>12,} bytes: {ram}, inputs and outputs {memory.io_bytes:,}\n"
        f"flash {memory.flash_bytes:>12,} bytes: code {memory.code_bytes:,}, "
        f"constants {memory.constants_bytes:,}"
    )
    if artifacts.engine is not None and artifacts.engine.segments:
        click.echo(_engine_line(artifacts.engine))
    click.echo(f"wrote {folder}")


def _engine_line(report: EngineReport) -> str:
    spm_bytes = max(segment.spm_bytes for segment in report.segments)
    return (
        f"engine {report.cycles:>11,} cycles: {report.utilization:.1%} of the array, scratchpad "
        f"{spm_bytes:,} of {report.machine.spm_bytes:,}, payload {report.payload_bytes:,}"
    )


def print_passes(compilation: Compilation) -> None:
    """A row for each pass that changed the graph, and the time of each stage."""
    print_table(
        "passes",
        ("pass", "ops before", "ops after", "ms", "rewrites"),
        [
            (
                record.name,
                record.num_ops_before,
                record.num_ops_after,
                record.seconds * 1e3,
                ", ".join(f"{law} {count}" for law, count in record.rewrites),
            )
            for record in compilation.records
            if record.changed
        ],
    )
    stages = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in compilation.stage_seconds)
    click.echo(f"stages: {stages}")
