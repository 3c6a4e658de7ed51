"""The frame of a page: style and script inside it, so that it can be mailed and archived."""

from collections.abc import Iterable
from importlib.resources import files

from lepton_cc.html_report.drawing import Markup, escaped


def page(title: str, parts: Iterable[Markup]) -> str:
    """A whole document, also well-formed as XML; holds no reference to anything outside."""
    style, script = _resource("page.css"), _resource("page.js")
    body = "\n".join(part.text for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n'
        '<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escaped(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<h1>{escaped(title)}</h1>\n{body}\n"
        f"<script>//<![CDATA[\n{script}//]]></script>\n</body>\n</html>\n"
    )


def section(title: str, parts: Iterable[Markup]) -> Markup:
    """A part of the page whose drawings share their axis of time."""
    inner = "\n".join(part.text for part in parts)
    return Markup(f"<section>\n<h2>{escaped(title)}</h2>\n{inner}\n</section>")


def heading(text: str) -> Markup:
    """A heading inside a section."""
    return Markup(f"<h3>{escaped(text)}</h3>")


def paragraph(text: str) -> Markup:
    """What a reader should know."""
    return Markup(f'<p class="hint">{escaped(text)}</p>')


def _resource(name: str) -> str:
    return (files("lepton_cc.html_report") / name).read_text(encoding="utf-8")
