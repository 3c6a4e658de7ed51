"""The tables of docs/benchmarks-int8.md: quantized networks beside every library, and by layer."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.int8_contest import Result, measure_apart
from benchmarks.int8_networks import Network, networks, write_forms
from benchmarks.machine import description
from benchmarks.page import DOCS, row, table_head
from benchmarks.peers.registry import PEERS
from benchmarks.read_bandwidth import read_bytes_per_second
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.target import Target
from lepton_cc.measure.layer_times import LayerTime
from lepton_cc.measure.peak import Peaks, measured_peaks
from lepton_cc.measure.turns import pinned

PAGE = DOCS / "benchmarks-int8.md"
NUM_TURNS = 101

_PEER_NAMES = tuple(peer.name for peer in PEERS)
_SPEED_HEAD = table_head(
    ("model", "lepton-cc", *_PEER_NAMES, "fastest peer", "ratio", "GMAC/s", "of peak")
)
_THREADS_HEAD = table_head(("model", "lepton-cc", *_PEER_NAMES, "fastest peer", "ratio"))
_BOUND_HEAD = table_head(
    (
        *("model", "million MACs", "weights, KB", "bound, us", "lepton-cc", "fastest peer here"),
        *("fastest peer on a Zen 5", "matrix bound, us", "lepton-cc of it"),
    )
)
_LAYER_HEAD = table_head(
    (
        *("layer", "operation", "unit", "result", "thousand MACs", "us", "of time", "GMAC/s"),
        "of peak",
    )
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A network's results, one for each number of threads, and the least time that it needs.

    `bound_seconds` is that in vector registers, `matrix_bound_seconds` in the matrix unit.
    """

    network: Network
    results: tuple[Result, ...]
    bound_seconds: float
    matrix_bound_seconds: float | None = None


def int8_tables(only: str, show: Callable[[str], None], num_turns: int = NUM_TURNS) -> str:
    """Measures every network whose name contains `only`, showing rows as they come."""
    with pinned(1):
        target = load_target("host")
        peaks = measured_peaks(target)
    measured = []
    for network in networks():
        if only in network.name:
            measured.append(_measure(network, target, peaks, num_turns))
            show(speed_row(measured[-1].results[0], peaks))
    return "\n".join(_sections(measured, target, peaks))


def _measure(network: Network, target: Target, peaks: Peaks, num_turns: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="lepton-bench-") as folder:
        forms = write_forms(network, Path(folder))
        results = tuple(
            measure_apart(forms, PEERS, threads, num_turns) for threads in network.threads
        )
    weights_bytes = results[0].weights_bytes
    with pinned(1):
        reading = weights_bytes / read_bytes_per_second(target, weights_bytes)
    # Whichever is longer: all multiply-adds at the peak, or all weights read once.
    vector, matrix = (
        max(reading, results[0].num_macs / (peak * 1e9)) if peak else None
        for peak in (peaks.i8, peaks.matrix)
    )
    return Measured(network, results, vector or reading, matrix)


def share_of_peak(result: Result, peaks: Peaks) -> float | None:
    """The time of the network's multiply-adds at the peaks of their units, as part of a run's."""
    seconds, num_done = 0.0, 0
    for time in result.layers:
        if time.layer is not None and time.num_macs:
            peak = peaks.of(time.layer)
            if peak is None:
                return None
            seconds += time.num_macs / (peak * 1e9)
            num_done += time.num_macs
    return seconds / result.seconds * (result.num_macs / num_done) if num_done else None


def _sections(measured: Sequence[Measured], target: Target, peaks: Peaks) -> Iterator[str]:
    machine = description(*dict.fromkeys(peer.version for peer in PEERS))
    yield from (f"Machine: {machine}. Target {target.name}; {_peaks(peaks)}.", "")
    yield from ("### One thread", "", "Microseconds a run.", "", *_SPEED_HEAD)
    first = [one.results[0] for one in measured]
    yield from (speed_row(result, peaks) for result in first)
    yield from ("", *_mean(first), *_reasons([r for one in measured for r in one.results]))
    more = [(one.results[0], two) for one in measured for two in one.results[1:]]
    if more:
        yield from ("### Two threads", "", "Microseconds a run, in brackets how many times as fast")
        yield from ("as on one thread.", "", *_THREADS_HEAD)
        yield from (threads_row(one, two) for one, two in more)
        yield ""
    yield from ("### What the core could do", "", *_BOUND_HEAD)
    yield from (bound_row(one) for one in measured)
    yield from ("", "### Layers")
    for one in measured:
        yield from _layers(one.results[0], peaks)


def speed_row(result: Result, peaks: Peaks) -> str:
    """A row of the table of one thread."""
    return row(
        (
            result.name,
            f"{result.seconds * 1e6:.1f}",
            *(_microseconds(peer.seconds) for peer in result.peers),
            *_fastest(result),
            f"{result.gmacs:.1f}",
            _share(share_of_peak(result, peaks)),
        )
    )


def threads_row(one: Result, more: Result) -> str:
    """A row of the table of two threads, with what they gain over one."""

    def cell(alone: float | None, together: float | None) -> str:
        if alone is None or together is None:
            return _microseconds(together)
        return f"{_microseconds(together)} ({alone / together:.2f})"

    pairs = zip(one.peers, more.peers, strict=True)
    return row(
        (
            more.name,
            cell(one.seconds, more.seconds),
            *(cell(alone.seconds, together.seconds) for alone, together in pairs),
            *_fastest(more),
        )
    )


def bound_row(measured: Measured) -> str:
    """A row of the table of bounds: what part of it each reaches."""
    result, reference = measured.results[0], measured.network.reference
    bound, fastest = measured.bound_seconds, result.fastest
    matrix = measured.matrix_bound_seconds
    return row(
        (
            result.name,
            f"{result.num_macs / 1e6:.2f}",
            f"{result.weights_bytes / 1e3:,.0f}",
            f"{bound * 1e6:.1f}",
            _share(bound / result.seconds),
            f"{_share(bound / fastest[1])} {fastest[0]}" if fastest else "-",
            f"{_share(reference.share)} {reference.library}" if reference else "-",
            _microseconds(matrix),
            _share(matrix / result.seconds if matrix else None),
        )
    )


def layer_row(number: int, time: LayerTime, peaks: Peaks) -> str:
    """A row of a network's layers."""
    assert time.layer is not None
    assert time.seconds is not None
    shape = "x".join(map(str, time.layer.shape))
    return row(
        (
            str(number),
            time.name,
            "matrix" if time.layer.uses_matrices else "vector",
            f"{time.layer.dtype}[{shape}]",
            f"{time.num_macs / 1e3:,.0f}" if time.num_macs else "-",
            f"{time.seconds * 1e6:.2f}",
            f"{time.share:.1%}",
            f"{time.gmacs:.1f}" if time.gmacs else "-",
            _share(peaks.share(time)),
        )
    )


def _peaks(peaks: Peaks) -> str:
    units = (("vector registers", peaks.i8), ("the matrix unit", peaks.matrix))
    known = [f"{peak:.0f} GMAC/s of u8 by i8 in {unit}" for unit, peak in units if peak]
    return f"peak {' and '.join(known) or 'not known'}"


def _layers(result: Result, peaks: Peaks) -> Iterator[str]:
    yield from ("", "<details>", f"<summary>{result.name}</summary>", "", *_LAYER_HEAD)
    yield from (layer_row(number, time, peaks) for number, time in enumerate(result.layers))
    yield from ("", "</details>")


def _mean(results: Sequence[Result]) -> Iterator[str]:
    ratios = [one.fastest[1] / one.seconds for one in results if one.fastest]
    if ratios:
        mean = statistics.geometric_mean(ratios)
        yield from (f"Geometric mean of the ratios: {mean:.2f}.", "")


def _reasons(results: Sequence[Result]) -> Iterator[str]:
    """Why there are dashes: each reason once, with the networks that it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for peer in result.peers:
            if peer.seconds is None:
                names = found.setdefault((peer.name, peer.reason), [])
                names += [] if result.name in names else [result.name]
    for (peer_name, reason), names in found.items():
        yield f"- {peer_name}, {', '.join(names)}: {reason}."
    if found:
        yield ""


def _fastest(result: Result) -> tuple[str, str]:
    """Cells: the fastest library, and how many times as long as ours it takes."""
    if result.fastest is None:
        return "-", "-"
    name, seconds = result.fastest
    return name, f"{seconds / result.seconds:.2f}"


def _microseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
