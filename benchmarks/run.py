"""Measures compiled models against ONNX Runtime, and counts instructions; `make bench` runs it.

    python -m benchmarks.run [--only TEXT] [--write]

`--write` puts the tables into docs/benchmarks.md, between its markers.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import Contestant, Result, contestants, measure
from benchmarks.emulated import TARGETS, Count, count_instructions
from benchmarks.machine import description, pin_to_one_cpu
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.ir.dtype import DType
from lepton_cc.measure.peak import peak_gmacs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

_SPEED_HEAD = (
    "| model | lepton-cc, us | ONNX Runtime, us | ratio | GMAC/s | of peak | build, s "
    "| planning, s | arena, bytes | lower bound |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
_COUNT_HEAD = (
    f"| model | million MACs |{''.join(f' {name}, million |' for name in TARGETS)} "
    f"{' '.join(f'{name} a MAC |' for name in TARGETS)}",
    f"|---|---|{'---|' * 2 * len(TARGETS)}",
)


def speed_row(result: Result, peak: float) -> str:
    """A row of the table of speed."""
    gmacs = result.num_macs / result.run_seconds / 1e9
    cells = (
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
    return f"| {' | '.join(cells)} |"


def count_row(count: Count) -> str:
    """A row of the table of instructions."""
    cells = [count.name, f"{count.num_macs / 1e6:.2f}"]
    cells += [f"{instructions / 1e6:.1f}" for instructions in count.instructions]
    cells += [f"{instructions / count.num_macs:.1f}" for instructions in count.instructions]
    return f"| {' | '.join(cells)} |"


def report(only: str) -> str:
    """Measures everything whose name contains `only`, printing rows as they come."""
    chosen = [contestant for contestant in contestants() if only in contestant.name]
    pin_to_one_cpu()
    target = load_target("host")
    peak = peak_gmacs(target, DType.F32) or float("nan")
    lines = [
        f"Machine: {description()}. Target {target.name}; peak {peak:.1f} GMAC/s in binary32.",
        "",
        *_SPEED_HEAD,
    ]
    results = []
    for contestant in chosen:
        results.append(measure(contestant, target))
        lines.append(speed_row(results[-1], peak))
        _show(lines[-1])
    ratio = statistics.geometric_mean(r.opponent_seconds / r.run_seconds for r in results)
    lines += ["", f"Geometric mean of the ratios: {ratio:.2f}.", "", *_instructions(chosen)]
    return "\n".join(lines)


def _instructions(chosen: Sequence[Contestant]) -> Sequence[str]:
    rows = []
    try:
        for contestant in chosen:
            if contestant.emulated:
                rows.append(count_row(count_instructions(contestant)))
                _show(rows[-1])
    except ToolchainError as error:
        return (f"Instructions were not counted: {error}",)
    return ("Instructions of one inference on the control core:", "", *_COUNT_HEAD, *rows)


def _show(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def write_page(tables: str) -> None:
    """Replaces what stands between the markers of the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n{tables}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Measures, prints, and writes if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    options = parser.parse_args()
    tables = report(options.only)
    sys.stdout.write(f"{tables}\n")
    if options.write:
        write_page(tables)


if __name__ == "__main__":
    main()
