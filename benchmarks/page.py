"""A page whose tables are measured: what stands between its markers is replaced."""

from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def table_head(names: Sequence[str]) -> tuple[str, str]:
    """The first two lines of a table."""
    return row(names), f"|{'---|' * len(names)}"


def write_page(page: Path, tables: str) -> None:
    """Replaces what stands between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    page.write_text(f"{head}{BEGIN}\n{tables}\n{END}{tail}", encoding="utf-8")
