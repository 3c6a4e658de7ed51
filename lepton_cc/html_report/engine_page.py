"""The engine report as parts of a page: queues over time, scratchpad map, layers, traffic."""

from collections.abc import Iterator, Sequence

from lepton_cc.engine_report.document import (
    EngineReport,
    LayerFigures,
    PacketFigures,
    QueueName,
    SegmentReport,
    Stalls,
)
from lepton_cc.engine_report.summary import STALL_WORDS, TRAFFIC_WORDS, summary_rows, traffic_totals
from lepton_cc.html_report.drawing import Box, Cell, Markup, axis, drawing, escaped, table
from lepton_cc.html_report.page import heading, paragraph, section

_LANES = (QueueName.COMPUTE, QueueName.DMA)
_PERCENT = 1000  # bars of shares are drawn in tenths of a percent


def engine_parts(report: EngineReport, mhz: float) -> Iterator[Markup]:
    """Summary, the core's ops, then a section for each segment; milliseconds are at `mhz`."""
    yield table(("", "", ""), summary_rows(report, mhz))
    yield from _core(report)
    yield from (_segment(segment, report) for segment in report.segments)


def _core(report: EngineReport) -> Iterator[Markup]:
    if not report.core_is_known:
        yield paragraph("A payload does not say what the control core computes.")
        return
    rows = [(op.operation, " ".join(op.nodes), op.code, op.reason) for op in report.core]
    yield heading("On the control core")
    yield table(("operation", "ONNX nodes", "reason", ""), rows)


def _segment(segment: SegmentReport, report: EngineReport) -> Markup:
    size = (segment.cycles, segment.spm_bytes)
    return section(
        f"Segment {segment.number}: {segment.cycles:,} cycles",
        [
            heading("Queues: compute above, DMA below"),
            paragraph("Wheel: zoom. Drag: move. Double click: all. Point at a layer to find it."),
            drawing("time lanes", (segment.cycles, len(_LANES)), _lanes(segment)),
            axis(segment.cycles),
            heading(f"Scratchpad over time: {segment.spm_bytes:,} bytes from top to bottom"),
            drawing("time map", size, _pieces(segment)),
            axis(segment.cycles),
            heading("Layers"),
            _legend(),
            _layers(segment, report.machine.macs),
            heading("Traffic"),
            _traffic(segment),
        ],
    )


def _lanes(segment: SegmentReport) -> Iterator[Box]:
    by_number = {layer.number: layer for layer in segment.layers}
    for packet in segment.packets:
        if packet.queue in _LANES and packet.completion > packet.begin:
            lane = _LANES.index(packet.queue)
            title = _packet_title(packet, by_number.get(packet.layer))
            cycles = packet.completion - packet.begin
            yield Box(packet.begin, lane, cycles, 1, title, packet.layer)


def _pieces(segment: SegmentReport) -> Iterator[Box]:
    for b in segment.buffers:
        end = b.offset + b.size_bytes
        title = (
            f"{b.name} ({b.kind.value}, layer {b.layer})\n"
            f"bytes {b.offset:,} to {end:,}, cycles {b.begin:,} to {b.end:,}"
        )
        yield Box(b.begin, b.offset, b.end - b.begin, b.size_bytes, title, b.layer)


def _packet_title(packet: PacketFigures, layer: LayerFigures | None) -> str:
    cycles = packet.completion - packet.begin
    lines = [
        f"packet {packet.index}: {packet.opcode}, {cycles:,} cycles",
        f"{packet.begin:,} to {packet.completion:,}",
    ]
    if layer is not None:
        lines.append(f"layer {layer.number}: {layer.operation} {' '.join(layer.nodes)}")
    return "\n".join(lines)


def _legend() -> Markup:
    spans = (
        f'<span><i style="background:var(--{name})"></i>{escaped(word)}</span>'
        for name, word in STALL_WORDS.items()
    )
    return Markup(f'<p class="legend">{"".join(spans)}</p>')


def _layers(segment: SegmentReport, macs: int) -> Markup:
    longest = max((layer.cycles for layer in segment.layers), default=1)
    heads = (
        "#", "operation", "ONNX nodes", "result", "MACs", "cycles", "where they go", "utilization",
        "", "weights, raw", "stored", "encoding",
    )  # fmt: skip
    rows: list[Sequence[Cell]] = []
    for layer in segment.layers:
        share = layer.utilization(macs)
        used = Box(0, 0, round(share * _PERCENT), 1, f"{share:.1%}", layer.number, "array")
        rows.append(
            (
                layer.number,
                layer.operation,
                " ".join(layer.nodes),
                "x".join(map(str, layer.shape)),
                layer.num_macs,
                layer.cycles,
                drawing("bar", (longest, 1), _stalls(layer.stalls, layer.number)),
                drawing("bar", (_PERCENT, 1), [used]),
                f"{share:.1%}",
                layer.weights.raw_bytes,
                layer.weights.encoded_bytes,
                " ".join(layer.weights.encodings),
            )
        )
    return table(heads, rows, [layer.number for layer in segment.layers])


def _stalls(stalls: Stalls, layer: int) -> Iterator[Box]:
    start = 0
    for name, word in STALL_WORDS.items():
        cycles = getattr(stalls, name)
        if cycles:
            yield Box(start, 0, cycles, 1, f"{word}: {cycles:,} cycles", layer, name)
            start += cycles


def _traffic(segment: SegmentReport) -> Markup:
    totals = traffic_totals(segment)
    rows = [
        (
            TRAFFIC_WORDS[name],
            total,
            total / segment.cycles if segment.cycles else 0.0,
            drawing("bar", (max(totals.values()), 1), _shares(segment, name)),
        )
        for name, total in totals.items()
    ]
    return table(("memory", "bytes", "a cycle", "by layer"), rows)


def _shares(segment: SegmentReport, name: str) -> Iterator[Box]:
    start = 0
    for layer in segment.layers:
        moved = getattr(layer.traffic, name)
        if moved:
            nodes = " ".join(layer.nodes)
            title = f"layer {layer.number} {layer.operation} {nodes}: {moved:,} bytes"
            yield Box(start, 0, moved, 1, title, layer.number)
            start += moved
