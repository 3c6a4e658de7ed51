"""Tables on stdout: ruled for people at a terminal, plain columns for everything else."""

import sys
from collections.abc import Sequence

import click

Cell = str | int | float


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Prints rows; columns whose cells are all numbers are set to the right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    numeric = [
        bool(rows) and all(not isinstance(row[column], str) for row in rows)
        for column in range(len(headings))
    ]
    if sys.stdout.isatty():
        _print_ruled(title, headings, texts, numeric)
    else:
        _print_plain(title, headings, texts, numeric)


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _print_ruled(
    title: str, headings: Sequence[str], rows: list[list[str]], numeric: list[bool]
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for heading, right in zip(headings, numeric, strict=True):
        table.add_column(heading, justify="right" if right else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)


def _print_plain(
    title: str, headings: Sequence[str], rows: list[list[str]], numeric: list[bool]
) -> None:
    lines = [list(headings), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    click.echo(title)
    for line in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())
