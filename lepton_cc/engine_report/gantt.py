"""A segment's two queues as text: a line for each layer, a column for a span of cycles."""

from collections.abc import Iterable, Iterator

from lepton_cc.engine_report.document import PacketFigures, QueueName, SegmentReport

_LABEL_WIDTH = 34
_COMPUTE, _DMA, _BOTH = "#", "-", "="


def gantt_lines(segment: SegmentReport, width: int) -> Iterator[str]:
    """Lines of at most `width` characters.

    `#` the compute queue works for the layer, `-` the DMA queue does, `=` both do.
    """
    columns = max(width - _LABEL_WIDTH - 2, 10)
    span = max(-(-segment.cycles // columns), 1)
    columns = max(-(-segment.cycles // span), 1)
    yield f"segment {segment.number}: {segment.cycles:,} cycles, a column is {span:,}"
    yield f"{_COMPUTE} compute  {_DMA} DMA  {_BOTH} both"
    for queue, mark in ((QueueName.COMPUTE, _COMPUTE), (QueueName.DMA, _DMA)):
        busy = _columns((p for p in segment.packets if p.queue is queue), span, columns)
        cells = "".join(mark if one else " " for one in busy)
        yield _line(f"{queue.value} queue", cells)
    for layer in segment.layers:
        mine = [packet for packet in segment.packets if packet.layer == layer.number]
        if not mine:
            continue
        compute = _columns((p for p in mine if p.queue is QueueName.COMPUTE), span, columns)
        dma = _columns((p for p in mine if p.queue is QueueName.DMA), span, columns)
        cells = "".join(_mark(one, other) for one, other in zip(compute, dma, strict=True))
        nodes = " ".join(layer.nodes)
        yield _line(f"{layer.number:3d} {layer.operation}  {nodes}", cells)


def _line(label: str, cells: str) -> str:
    return f"{label[:_LABEL_WIDTH]:{_LABEL_WIDTH}} |{cells.rstrip()}"


def _mark(compute: bool, dma: bool) -> str:
    if compute:
        return _BOTH if dma else _COMPUTE
    return _DMA if dma else " "


def _columns(packets: Iterable[PacketFigures], span: int, columns: int) -> list[bool]:
    """Whether a packet runs at some time of each column."""
    busy = [False] * columns
    for packet in packets:
        if packet.completion > packet.begin:
            for column in range(packet.begin // span, (packet.completion - 1) // span + 1):
                busy[column] = True
    return busy
