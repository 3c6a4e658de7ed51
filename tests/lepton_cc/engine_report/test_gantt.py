"""The timeline as text, on a segment small enough to be seen."""

import dataclasses

from lepton_cc.engine_report.document import (
    LayerFigures,
    PacketFigures,
    QueueName,
    SegmentReport,
    Stalls,
    Traffic,
    WeightFigures,
)
from lepton_cc.engine_report.gantt import gantt_lines

LAYERS = tuple(
    LayerFigures(
        number, f"conv {number}", (f"node_{number}",), "", (1, 1, 1), 1, 0, Stalls(), 0, Traffic(),
        WeightFigures(0, 0, 0, ()),
    )
    for number in (1, 2, 3)
)  # fmt: skip
PACKETS = (
    PacketFigures(1, "dma", QueueName.DMA, 1, 0, 20),
    PacketFigures(2, "conv", QueueName.COMPUTE, 1, 20, 50),
    PacketFigures(3, "dma", QueueName.DMA, 2, 20, 70),
    PacketFigures(4, "conv", QueueName.COMPUTE, 2, 60, 100),
    PacketFigures(5, "end", QueueName.BOTH, 0, 100, 100),
)
SEGMENT = SegmentReport(0, 100, 0, 16, 16, 16, {}, LAYERS, PACKETS, ())


def test_a_column_is_a_span_of_cycles() -> None:
    assert list(gantt_lines(SEGMENT, 34 + 2 + 10)) == [
        "segment 0: 100 cycles, a column is 10",
        "# compute  - DMA  = both",
        f"{'compute queue':34} |  ### ####",
        f"{'dma queue':34} |-------",
        f"{'  1 conv 1  node_1':34} |--###",
        f"{'  2 conv 2  node_2':34} |  ----=###",
    ]


def test_lines_fit_the_width() -> None:
    for width in (40, 80, 200):
        lines = list(gantt_lines(SEGMENT, width))
        assert max(map(len, lines)) <= max(width, 46)


def test_a_segment_that_takes_no_time_has_a_timeline() -> None:
    empty = dataclasses.replace(SEGMENT, cycles=0, packets=(), layers=())
    assert len(list(gantt_lines(empty, 80))) == 4
