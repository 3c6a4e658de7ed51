"""The per-layer profile, for people and as JSON; `run` and `bench` show it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_cc.cli.tables import Cell, print_table

if TYPE_CHECKING:
    from lepton_cc.measure.engine_profile import MeasuredLayer
    from lepton_cc.measure.layer_times import LayerTime
    from lepton_cc.measure.peak import Peaks


def print_profile(title: str, rows: "Sequence[LayerTime]", peaks: "Peaks | None" = None) -> None:
    """A row for each layer in order; `peaks` give its share of what the core could do."""
    emulated = any(row.instructions is not None for row in rows)
    costs = ("instructions", "a MAC") if emulated else ("us", "GMAC/s")
    more = ("of peak",) if peaks else ()
    print_table(
        title,
        ("#", "operation", "result", "MACs", "share", *costs, *more, "ONNX nodes"),
        [_cells(row, peaks, emulated=emulated) for row in rows],
    )


def _cells(row: "LayerTime", peaks: "Peaks | None", *, emulated: bool) -> tuple[Cell, ...]:
    layer = row.layer
    cost: tuple[Cell, ...]
    if emulated:
        cost = (f"{row.instructions or 0:,.0f}", _number(row.instructions_per_mac, ".2f"))
    else:
        cost = (f"{(row.seconds or 0) * 1e6:,.2f}", _number(row.gmacs, ".1f"))
    share = peaks.share(row) if peaks else None
    return (
        "" if layer is None else str(layer.number),
        row.name,
        "" if layer is None else f"{layer.dtype}[{', '.join(map(str, layer.shape))}]",
        row.num_macs,
        f"{row.share:.1%}",
        *cost,
        *((_number(share, ".0%"),) if peaks else ()),
        "" if layer is None else " ".join(layer.nodes),
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def profile_fields(
    rows: "Sequence[LayerTime]", peaks: "Peaks | None" = None
) -> list[dict[str, object]]:
    """The profile as JSON."""
    return [
        {
            **({} if row.layer is None else dataclasses.asdict(row.layer)),
            "name": row.name,
            "share": row.share,
            "seconds": row.seconds,
            "instructions": row.instructions,
            "gmacs": row.gmacs,
            "instructions_per_mac": row.instructions_per_mac,
            "share_of_peak": peaks.share(row) if peaks else None,
        }
        for row in rows
    ]


def print_engine_profile(title: str, rows: "Sequence[MeasuredLayer]") -> None:
    """A row for each layer of the tensor engine: measured and estimated cycles, their causes."""
    heads = (
        "segment", "#", "operation", "MACs", "measured", "estimated", "array", "setup", "epilogue",
        "scratchpad", "decoder", "waiting", "DMA busy", "ONNX nodes",
    )  # fmt: skip
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        layer, measured = row.layer, row.measured
        cells.append(
            (
                row.segment,
                layer.number,
                layer.operation,
                layer.num_macs,
                measured.cycles,
                layer.cycles,
                measured.array,
                measured.setup,
                measured.epilogue,
                measured.scratchpad,
                measured.weights,
                measured.waiting,
                row.measured_dma_cycles,
                " ".join(layer.nodes),
            )
        )
    print_table(title, heads, cells)


def engine_profile_fields(rows: "Sequence[MeasuredLayer]") -> list[dict[str, object]]:
    """The tensor engine's profile as JSON."""
    return [
        {
            "segment": row.segment,
            "number": row.layer.number,
            "operation": row.layer.operation,
            "nodes": list(row.layer.nodes),
            "num_macs": row.layer.num_macs,
            "measured_cycles": row.measured.cycles,
            "estimated_cycles": row.layer.cycles,
            "measured": dataclasses.asdict(row.measured),
            "measured_dma_cycles": row.measured_dma_cycles,
        }
        for row in rows
    ]
