"""How `compress` and `distill` end: a folder that was looked at first, files, tables and notes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.compression.output import Output
    from lepton_cc.compression.result import Compression


def checked_output(inputs: tuple[Path, ...], name: str, out: Path | None) -> "Output":
    """Where the files go: by default build/NAME, NAME that of the model, the first of the inputs.

    Raises:
        Refused: they cannot be written there, or something would be lost.
    """
    from lepton_cc.compression.output import Output

    stem = name or inputs[0].stem
    output = Output(out or Path("build") / stem, stem)
    output.check(inputs)
    return output


def write_compression(done: "Compression", output: "Output", *, as_json: bool) -> None:
    """Writes the files and says what was done.

    Raises:
        Refused: the files cannot be written, or ONNX has no form for an op.
    """
    from lepton_cc.ir.diagnostics import Refused

    written = done.save(output.folder, output.name)
    if as_json:
        click.echo(json.dumps(done.report(), indent=2, ensure_ascii=False))
    else:
        _print(done, written)
    if done.problems:
        raise Refused(done.problems)


def _print(done: "Compression", written: tuple[Path, ...]) -> None:
    for stage in done.stages:
        table = stage.result.table
        if table is not None:
            title = f"{stage.name}: {table.title}, {stage.seconds:.1f} s"
            print_table(title, table.headings, table.rows)
    for note in done.notes:
        click.echo(f"note: {note.message}", err=True)
    for path in written:
        click.echo(f"wrote {path}")
