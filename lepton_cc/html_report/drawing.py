"""Pieces of a page: escaped text, tables, drawings of rectangles in the units of what they show."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_HUE_STEP = 47  # coprime to 360: neighbours differ, and 360 layers have colours of their own
_NUM_TICKS = 6


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is HTML already."""

    text: str


Cell = str | int | float | Markup


def escaped(text: str) -> str:
    """Text as HTML; characters that no document may hold become visible."""
    visible = "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return html.escape(visible)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with what the pointer says of it; `kind` is a colour's class, or by `layer`."""

    x: int
    y: int
    width: int
    height: int
    title: str
    layer: int = 0
    kind: str = ""

    def markup(self) -> str:
        """As an SVG element."""
        colour = f'class="{self.kind}"' if self.kind else f'fill="{layer_colour(self.layer)}"'
        return (
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" '
            f'{colour} data-layer="{self.layer}"><title>{escaped(self.title)}</title></rect>'
        )


def layer_colour(layer: int) -> str:
    """The colour of a layer; layer 0 is grey."""
    return f"hsl({layer * _HUE_STEP % 360} 50% 58%)" if layer else "hsl(0 0% 60%)"


def drawing(classes: str, size: tuple[int, int], boxes: Iterable[Box]) -> Markup:
    """Boxes in their own units, stretched to the place that there is."""
    width, height = (max(side, 1) for side in size)
    body = "".join(box.markup() for box in boxes)
    return Markup(
        f'<svg class="{classes}" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'role="img" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def axis(end: int) -> Markup:
    """Ticks from 0 to `end`, evenly."""
    ticks = (end * i // (_NUM_TICKS - 1) for i in range(_NUM_TICKS))
    return Markup(
        '<div class="axis">' + "".join(f"<span>{tick:,}</span>" for tick in ticks) + "</div>"
    )


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Cell]], layers: Sequence[int] = ()
) -> Markup:
    """A table; numbers are set to the right. `layers`: the layer that each row belongs to."""
    listed = [list(row) for row in rows]
    numeric = [
        bool(listed) and all(isinstance(row[i], int | float) for row in listed)
        for i in range(len(heads))
    ]
    lines = []
    for number, row in enumerate(listed):
        mark = f' data-layer="{layers[number]}"' if layers else ""
        cells = "".join(_cell(cell, right) for cell, right in zip(row, numeric, strict=True))
        lines.append(f"<tr{mark}>{cells}</tr>")
    head = "".join(
        f'<th class="number">{escaped(text)}</th>' if right else f"<th>{escaped(text)}</th>"
        for text, right in zip(heads, numeric, strict=True)
    )
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")


def _cell(cell: Cell, right: bool) -> str:
    match cell:
        case Markup():
            return f'<td class="bar">{cell.text}</td>'
        case float():
            text = f"{cell:,.3g}"
        case int():
            text = f"{cell:,}"
        case _:
            text = escaped(cell)
    return f'<td class="number">{text}</td>' if right else f"<td>{text}</td>"
