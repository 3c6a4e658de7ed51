"""The report in a few lines, and the words for its figures; text and HTML share them."""

import dataclasses
from collections.abc import Iterator, Mapping

from lepton_cc.engine_report.document import (
    CoreOperation,
    EngineReport,
    PortFigures,
    SegmentReport,
    Traffic,
)

Row = tuple[str, str, str]
_MAX_OPERATIONS_NAMED = 3

STALL_WORDS: Mapping[str, str] = {
    "array": "array works",
    "setup": "packet setup",
    "epilogue": "epilogue is slowest",
    "scratchpad": "scratchpad is slowest",
    "weights": "weight decoder is slowest",
    "waiting": "waits for transfers",
}
TRAFFIC_WORDS: Mapping[str, str] = {
    "spm": "scratchpad, by compute packets",
    "wbuf": "weight buffer, written",
    "constants": "constants, read",
    "system_read": "system memory, read",
    "system_write": "system memory, written",
}


def traffic_totals(segment: SegmentReport) -> dict[str, int]:
    """Bytes of all layers by memory: field of `Traffic` -> bytes."""
    total = Traffic()
    for layer in segment.layers:
        total = total.plus(layer.traffic)
    return dataclasses.asdict(total)


def summary_rows(report: EngineReport, mhz: float) -> list[Row]:
    """What, how much, and a remark; milliseconds are at a clock of `mhz`."""
    machine, segments = report.machine, report.segments
    spm_bytes = max((segment.spm_bytes for segment in segments), default=0)
    wbuf_bytes = max((segment.wbuf_bytes for segment in segments), default=0)
    rows = [
        ("machine", f"{machine.member}, {machine.profile}", f"{machine.macs} MACs a cycle"),
        ("system", machine.system, machine.system_description),
        ("constants", _port(machine.constants_port), "the port's rate and latency"),
        ("system memory", _port(machine.system_port), "the port's rate and latency"),
        ("cycles", f"{report.cycles:,}", f"{_count(len(segments), 'segment')} of the engine"),
        ("time", f"{report.cycles / mhz / 1e3:,.3f} ms", f"of the engine, at {mhz:g} MHz"),
        ("multiply-adds", f"{report.num_macs:,}", "issued, padding included"),
        ("utilization", f"{report.utilization:.1%}", "of the array, over all cycles"),
        ("scratchpad", f"{spm_bytes:,}", f"of {machine.spm_bytes:,} bytes"),
        ("weight buffer", f"{wbuf_bytes:,}", f"of {machine.wbuf_bytes:,} bytes"),
        ("payload", f"{report.payload_bytes:,}", f"bytes, {report.constants_bytes:,} constants"),
        ("arena", f"{report.arena_bytes:,}", "bytes of the program, shared with the core"),
    ]
    if report.core_is_known:
        layers = sum(len(segment.layers) for segment in segments)
        split = f"{_count(layers, 'layer')} on the engine"
        rows.append(("core", _count(len(report.core), "operation"), split))
    return rows


def _port(port: PortFigures) -> str:
    return f"{port.bytes_per_cycle:g} bytes a cycle, {port.latency} cycles"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def core_notes(report: EngineReport) -> Iterator[str]:
    """What the tensor engine leaves to the control core: a line for each reason."""
    if not report.segments:
        yield "every op runs on the control core"
    by_reason: dict[str, list[CoreOperation]] = {}
    for operation in report.core:
        by_reason.setdefault(operation.reason, []).append(operation)
    for reason, operations in by_reason.items():
        named = [_named(operation) for operation in operations[:_MAX_OPERATIONS_NAMED]]
        more = len(operations) - len(named)
        rest = [f"{more} more"] if more else []
        yield f"on the control core: {', '.join([*named, *rest])}: {reason}"


def _named(operation: CoreOperation) -> str:
    nodes = f" ({' '.join(operation.nodes)})" if operation.nodes else ""
    return f"{operation.operation}{nodes}"
