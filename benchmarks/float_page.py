"""The tables of docs/benchmarks.md: float models beside ONNX Runtime, and counted instructions."""

import statistics
from collections.abc import Callable, Sequence

import onnxruntime

from benchmarks.contest import NUM_TURNS, Contestant, Result, contestants, measure
from benchmarks.emulated import TARGETS, Count, count_instructions
from benchmarks.machine import description
from benchmarks.page import DOCS, row, table_head
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.ir.dtype import DType
from lepton_cc.measure.peak import peak_gmacs
from lepton_cc.measure.turns import pinned

PAGE = DOCS / "benchmarks.md"

_SPEED_HEAD = table_head(
    (
        *("model", "lepton-cc, us", "ONNX Runtime, us", "ratio", "GMAC/s", "of peak", "build, s"),
        *("planning, s", "arena, bytes", "lower bound"),
    )
)
_COUNT_HEAD = table_head(
    (
        *("model", "million MACs"),
        *(f"{name}, million" for name in TARGETS),
        *(f"{name} a MAC" for name in TARGETS),
    )
)


def speed_row(result: Result, peak: float) -> str:
    """A row of the table of speed."""
    gmacs = result.num_macs / result.run_seconds / 1e9
    return row(
        (
            result.name,
            f"{result.run_seconds * 1e6:.1f}",
            f"{result.opponent_seconds * 1e6:.1f}",
            f"{result.opponent_seconds / result.run_seconds:.2f}",
            f"{gmacs:.1f}",
            f"{gmacs / peak:.0%}",
            f"{result.cold_seconds:.1f}",
            f"{result.planning_seconds:.2f}",
            f"{result.arena_bytes:,}",
            f"{result.lower_bound_bytes:,}",
        )
    )


def count_row(count: Count) -> str:
    """A row of the table of instructions."""
    cells = [count.name, f"{count.num_macs / 1e6:.2f}"]
    cells += [f"{instructions / 1e6:.1f}" for instructions in count.instructions]
    cells += [f"{instructions / count.num_macs:.1f}" for instructions in count.instructions]
    return row(cells)


def float_tables(only: str, show: Callable[[str], None], num_turns: int = NUM_TURNS) -> str:
    """Measures everything whose name contains `only`, showing rows as they come."""
    chosen = [contestant for contestant in contestants() if only in contestant.name]
    with pinned(1):
        target = load_target("host")
        peak = peak_gmacs(target, DType.F32) or float("nan")
        machine = description(f"ONNX Runtime {onnxruntime.__version__}")
        lines = [
            f"Machine: {machine}. Target {target.name}; peak {peak:.1f} GMAC/s in binary32.",
            "",
            *_SPEED_HEAD,
        ]
        results = []
        for contestant in chosen:
            results.append(measure(contestant, target, num_turns=num_turns))
            lines.append(speed_row(results[-1], peak))
            show(lines[-1])
        ratio = statistics.geometric_mean(r.opponent_seconds / r.run_seconds for r in results)
        lines += ["", f"Geometric mean of the ratios: {ratio:.2f}.", ""]
        lines += _instructions(chosen, show)
    return "\n".join(lines)


def _instructions(chosen: Sequence[Contestant], show: Callable[[str], None]) -> Sequence[str]:
    rows = []
    try:
        for contestant in chosen:
            if contestant.emulated:
                rows.append(count_row(count_instructions(contestant)))
                show(rows[-1])
    except ToolchainError as error:
        return (f"Instructions were not counted: {error}",)
    return ("Instructions of one inference on the control core:", "", *_COUNT_HEAD, *rows)
