"""The page of `lepton inspect --html`: the engine's parts, if there are, then memory and layers."""

from collections.abc import Iterator, Sequence

from lepton_cc.engine_report.document import EngineReport
from lepton_cc.html_report.drawing import Box, Cell, Markup, axis, drawing, table
from lepton_cc.html_report.engine_page import engine_parts
from lepton_cc.html_report.page import heading, page, paragraph, section
from lepton_cc.passes.memory import MemoryPlan
from lepton_cc.report import LayerReport, MemoryReport


def engine_page(report: EngineReport, mhz: float) -> str:
    """The page of an engine report alone; milliseconds are at a clock of `mhz`."""
    return page(f"{report.name} on {report.machine.member}", engine_parts(report, mhz))


def model_page(
    name: str,
    memory: MemoryReport,
    layers: Sequence[LayerReport],
    plan: MemoryPlan,
    engine: EngineReport | None,
    mhz: float,
) -> str:
    """The page of a compiled model."""
    parts = [] if engine is None else list(engine_parts(engine, mhz))
    title = name if engine is None else f"{name} on {engine.machine.member}"
    return page(title, [*parts, _program(memory, layers, plan)])


def _program(memory: MemoryReport, layers: Sequence[LayerReport], plan: MemoryPlan) -> Markup:
    return section(
        "Program",
        [
            heading("Memory"),
            table(("what", "bytes", ""), _memory_rows(memory)),
            heading(f"Arena over the calls: {plan.arena_bytes:,} bytes from top to bottom"),
            paragraph("Wheel: zoom. Drag: move. Double click: all."),
            drawing("time map", (len(layers), plan.arena_bytes), _placements(plan, layers)),
            axis(len(layers)),
            heading("Kernel calls"),
            _calls(layers),
        ],
    )


def _memory_rows(memory: MemoryReport) -> Sequence[Sequence[Cell]]:
    return [
        ("arena", memory.arena_bytes, "optimal" if memory.proven_optimal else "not proven optimal"),
        ("stack", memory.stack_bytes, "worst case of a run"),
        ("inputs and outputs", memory.io_bytes, ""),
        ("RAM", memory.ram_bytes, "the sum of these"),
        ("code", memory.code_bytes, ""),
        ("constants", memory.constants_bytes, ""),
        ("flash", memory.flash_bytes, "the sum of these two"),
    ]


def _placements(plan: MemoryPlan, layers: Sequence[LayerReport]) -> Iterator[Box]:
    for placement in plan.placements:
        buffer = placement.buffer
        if not buffer.size_bytes:
            continue
        end = placement.offset + buffer.size_bytes
        first, last = (layers[step] for step in (buffer.first_step, buffer.last_step))
        title = (
            f"{buffer.name}: bytes {placement.offset:,} to {end:,}\n"
            f"from {first.number} {first.operation} to {last.number} {last.operation}"
        )
        calls = buffer.last_step + 1 - buffer.first_step
        made_by = buffer.first_step + 1
        yield Box(buffer.first_step, placement.offset, calls, buffer.size_bytes, title, made_by)


def _calls(layers: Sequence[LayerReport]) -> Markup:
    most = max((layer.num_macs for layer in layers), default=1)
    rows = [
        (
            layer.number,
            layer.operation,
            " ".join(layer.nodes),
            f"{layer.dtype}[{', '.join(map(str, layer.shape))}]",
            layer.num_macs,
            drawing("bar", (most, 1), [_macs(layer)]),
            layer.read_bytes,
            layer.written_bytes,
            layer.kernel,
        )
        for layer in layers
    ]
    heads = (
        "#", "operation", "ONNX nodes", "result", "MACs", "", "bytes read", "bytes written",
        "runs as",
    )  # fmt: skip
    return table(heads, rows, [layer.number + 1 for layer in layers])


def _macs(layer: LayerReport) -> Box:
    return Box(0, 0, layer.num_macs, 1, f"{layer.num_macs:,} MACs", layer.number + 1)
