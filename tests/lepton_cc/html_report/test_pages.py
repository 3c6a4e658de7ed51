"""Pages are well-formed, name every layer, draw inside their borders and need nothing else."""

import dataclasses
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from lepton_cc.engine_report.document import EngineReport
from lepton_cc.html_report.drawing import Box, drawing, escaped, table
from lepton_cc.html_report.model_page import engine_page
from tests.lepton_cc.engine_report.compiled import report_of

SVG = "{http://www.w3.org/2000/svg}"
HTML = "{http://www.w3.org/1999/xhtml}"
NAMESPACES = ("http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg")


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


@pytest.fixture(scope="module", params=["digits_cnn", "digits_dscnn", "digits_gru"])
def report(request: pytest.FixtureRequest) -> EngineReport:
    return report_of(request.param)


def test_names_every_layer_and_op(report: EngineReport) -> None:
    text = " ".join(parsed(engine_page(report, 500.0)).itertext())
    for segment in report.segments:
        assert f"Segment {segment.number}: {segment.cycles:,} cycles" in text
        for layer in segment.layers:
            assert layer.operation in text
            assert " ".join(layer.nodes) in text
    for op in report.core:
        assert op.operation in text
        assert op.reason in text


def test_refers_to_nothing_outside(report: EngineReport) -> None:
    text = engine_page(report, 500.0)
    for namespace in NAMESPACES:
        text = text.replace(f'xmlns="{namespace}"', "")
    assert "://" not in text
    assert not re.search(r"\b(src|href|srcset|action)\s*=|url\(|@import|fetch\(|import\(", text)


def test_an_html_parser_sees_balanced_tags(report: EngineReport) -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            assert tag in ("meta", "rect", "br")

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    tags = Tags()
    tags.feed(engine_page(report, 500.0))
    tags.close()
    assert not tags.open


def test_drawings_stay_inside_their_borders(report: EngineReport) -> None:
    drawings = list(parsed(engine_page(report, 500.0)).iter(f"{SVG}svg"))
    assert drawings
    for svg in drawings:
        width, height = map(int, svg.attrib["viewBox"].split()[2:])
        for rect in svg.iter(f"{SVG}rect"):
            x, y, w, h = (int(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
            assert rect.find(f"{SVG}title") is not None


def test_the_queues_show_every_packet_that_takes_time(report: EngineReport) -> None:
    page = parsed(engine_page(report, 500.0))
    lanes = [svg for svg in page.iter(f"{SVG}svg") if "lanes" in svg.attrib["class"]]
    for svg, segment in zip(lanes, report.segments, strict=True):
        busy = [p for p in segment.packets if p.completion > p.begin]
        assert len(list(svg.iter(f"{SVG}rect"))) == len(busy)


def test_rows_and_rectangles_of_a_layer_find_each_other(report: EngineReport) -> None:
    page = parsed(engine_page(report, 500.0))
    for section, segment in zip(page.iter(f"{HTML}section"), report.segments, strict=True):
        rows = {row.attrib.get("data-layer") for row in section.iter(f"{HTML}tr")} - {None}
        assert rows == {str(layer.number) for layer in segment.layers}


def test_names_cannot_break_the_page() -> None:
    report = report_of("digits_cnn")
    evil = '</script><script>alert("x")</script>&amp;\x00\x1b'
    (segment, *_) = report.segments
    layer = dataclasses.replace(segment.layers[0], nodes=(evil,))
    changed = dataclasses.replace(segment, layers=(layer, *segment.layers[1:]))
    page = engine_page(dataclasses.replace(report, name=evil, segments=(changed,)), 500.0)
    assert parsed(page) is not None
    assert page.count("<script>") == 1


def test_a_report_without_segments_is_a_page() -> None:
    report = dataclasses.replace(report_of("digits_cnn"), segments=())
    assert "0 segments" in " ".join(parsed(engine_page(report, 100.0)).itertext())


def test_empty_drawings_and_tables_are_legal() -> None:
    assert 'viewBox="0 0 1 1"' in drawing("bar", (0, 0), []).text
    assert "<tbody></tbody>" in table(("a",), []).text


def test_a_box_says_what_it_is() -> None:
    text = drawing("bar", (4, 1), [Box(1, 0, 2, 1, "a < b", layer=3)]).text
    (rect,) = ElementTree.fromstring(text).iter(f"{SVG}rect")
    assert rect.attrib["data-layer"] == "3"
    assert "".join(rect.itertext()) == "a < b"


def test_escaping_shows_what_cannot_be_shown() -> None:
    assert escaped("a\x07<b>") == "a\N{REPLACEMENT CHARACTER}&lt;b&gt;"
