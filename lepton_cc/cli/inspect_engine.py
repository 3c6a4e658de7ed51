"""The engine's part of `lepton inspect`: summary, layers, the core's ops, disassembly, timeline."""

import dataclasses
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.engine_report.document import EngineReport, SegmentReport

LPT = ".lpt"
_DEFAULT_SYSTEM = "embedded"
_PLAIN_WIDTH = 120  # of a timeline that goes to no terminal


@dataclass(frozen=True, slots=True)
class View:
    """What the user wants to see; `mhz` is the clock that milliseconds are at."""

    disassemble: bool
    timeline: bool
    html: Path | None
    mhz: float
    as_json: bool

    def refuse_engine_options(self, target: str) -> None:
        """Refuses what only an engine has.

        Raises:
            UsageError: such an option was given.
        """
        for name, given in (("--disassemble", self.disassemble), ("--timeline", self.timeline)):
            if given:
                raise click.UsageError(f"{name}: {target} has no tensor engine")


def read_payload(
    path: Path, system: str | None, machine_name: str | None
) -> "tuple[EngineReport, bytes]":
    """A `.lpt` file, its times those of a machine (`native`) in a system (`embedded`).

    Raises:
        Refused: it is no payload, or there is no such system or machine.
    """
    from lepton_cc.codegen.npu.payload_reader import PayloadError, decode_payload
    from lepton_cc.codegen.npu.systems.loader import machine_of
    from lepton_cc.engine_report.payload_report import payload_report
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.ir.target import Engine

    try:
        content = path.read_bytes()
        payload = decode_payload(content)
        engine = Engine(payload.macs, system or _DEFAULT_SYSTEM)
        if machine_name is not None:
            engine = dataclasses.replace(engine, profile=machine_name)
        machine = machine_of(engine)
        report = payload_report(path.stem, content, machine)
    except (OSError, PayloadError) as error:
        raise refuse(Code.MODEL_UNREADABLE, f"{path}: {error}") from error
    segments = payload.segments[: payload.num_model_segments]
    promised = sum(record.cycles for record in segments)
    if promised != report.cycles:
        click.echo(
            f"note: {path.name} was made for another system or machine, where it takes "
            f"{promised:,} cycles; name it with --system and --profile-machine",
            err=True,
        )
    return report, content


def engine_fields(report: "EngineReport", payload: bytes, view: View) -> dict[str, object]:
    """The report as JSON, with what was asked for besides."""
    from lepton_cc.engine_report.document import report_fields
    from lepton_cc.engine_report.payload_report import disassembly

    fields = {
        "cycles": report.cycles,
        "milliseconds": report.cycles / view.mhz / 1e3,
        "utilization": report.utilization,
        **report_fields(report),
    }
    if view.disassemble and payload:
        fields["disassembly"] = list(disassembly(payload))
    return fields


def print_engine(report: "EngineReport", payload: bytes, view: View) -> None:
    """The report as text."""
    from lepton_cc.engine_report.gantt import gantt_lines
    from lepton_cc.engine_report.payload_report import disassembly
    from lepton_cc.engine_report.summary import summary_rows

    print_table("tensor engine", ("what", "", ""), summary_rows(report, view.mhz))
    click.echo()
    for segment in report.segments:
        _print_layers(segment, report.machine.macs)
        click.echo()
        _print_traffic(segment)
        click.echo()
        _print_pieces(segment)
        click.echo()
    _print_core(report)
    if view.timeline:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
        for segment in report.segments:
            click.echo()
            click.echo("\n".join(gantt_lines(segment, width)))
    if view.disassemble and payload:
        click.echo()
        click.echo("\n".join(disassembly(payload)))


def _print_layers(segment: "SegmentReport", macs: int) -> None:
    rows = []
    for layer in segment.layers:
        stalls, weights = layer.stalls, layer.weights
        rows.append(
            (
                layer.number,
                layer.operation,
                "x".join(map(str, layer.shape)),
                layer.num_macs,
                layer.cycles,
                f"{layer.utilization(macs):.1%}",
                stalls.array,
                stalls.setup,
                stalls.epilogue,
                stalls.scratchpad,
                stalls.weights,
                stalls.waiting,
                weights.raw_bytes,
                weights.encoded_bytes,
                " ".join(weights.encodings),
                " ".join(layer.nodes),
            )
        )
    heads = (
        "#", "operation", "result", "MACs", "cycles", "used", "array", "setup", "epilogue",
        "scratchpad", "decoder", "waiting", "weights", "stored", "encoding", "ONNX nodes",
    )  # fmt: skip
    tail = f", {segment.tail_cycles:,} behind the last layer" if segment.tail_cycles else ""
    print_table(f"segment {segment.number}: {segment.cycles:,} cycles{tail}", heads, rows)


def _print_traffic(segment: "SegmentReport") -> None:
    from lepton_cc.engine_report.summary import TRAFFIC_WORDS, traffic_totals

    totals = traffic_totals(segment)
    print_table(
        "traffic",
        ("memory", "bytes", "bytes a cycle"),
        [
            (TRAFFIC_WORDS[name], moved, moved / segment.cycles if segment.cycles else 0.0)
            for name, moved in totals.items()
        ],
    )


def _print_pieces(segment: "SegmentReport") -> None:
    print_table(
        "scratchpad",
        ("offset", "bytes", "from cycle", "to cycle", "layer", "holds", ""),
        [
            (b.offset, b.size_bytes, b.begin, b.end, b.layer, b.kind.value, b.name)
            for b in segment.buffers
        ],
    )


def _print_core(report: "EngineReport") -> None:
    if not report.core_is_known:
        click.echo("a payload does not say what the control core computes")
    elif not report.core:
        click.echo("nothing is left to the control core")
    else:
        print_table(
            "on the control core",
            ("operation", "reason", "", "ONNX nodes"),
            [(op.operation, op.code, op.reason, " ".join(op.nodes)) for op in report.core],
        )
