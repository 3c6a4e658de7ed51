"""The tables of cycles: beside Vela on its own machine, with our array, and natively."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.npu.published import BOUNDS, FLASH, SRAM, VELA
from benchmarks.npu.rows import Case, Row
from benchmarks.npu.subjects import LARGE, Subject
from benchmarks.page import row, table_head
from lepton_cc.codegen.npu.isa.family import FAMILY
from lepton_cc.codegen.npu.machine import Profile

COMPARED_MEMBERS = (128, 256)
ON_CHIP, EMBEDDED = "on-chip", "embedded"
BOUND_FACTOR = 1.2

_VELA_HEAD = table_head(
    (
        *("model", "MACs", "system", "scratchpad", "cycles", "array used", "maps, KiB"),
        *("scratchpad, KiB", "constants, bytes", "Vela", "Vela's old core", "its SRAM, KiB"),
        *("its weights, bytes", "ours / better Vela"),
    )
)
_NATIVE_HEAD = table_head(
    (
        *("model", "MACs", "system", "scratchpad", "cycles", "array used", "maps, KiB"),
        *("scratchpad, KiB", "constants, bytes", "port, cycles", "analytic bound"),
        *("of it", "of bound or port"),
    )
)
_EQUAL_HEAD = table_head(("model", "machines", "emulated", "equal to the estimate", "equal bytes"))


def cases(subject: Subject) -> tuple[Case, ...]:
    """The machines of a network's rows."""
    large = subject.name in LARGE
    compared: tuple[int, ...] = COMPARED_MEMBERS
    members = tuple(one.macs for one in FAMILY)
    if subject.name == "resnet50":
        # A row takes most of a minute to compile and emulate.
        compared, members = (256,), (256, 1024)
    ample = (True, False) if large else (False,)
    beside = {Profile.U55_CLONE: ample, Profile.PARITY: ample[:1]}
    found = [
        Case(profile, macs, system, room)
        for profile, rooms in beside.items()
        for room in rooms
        for macs in compared
        for system in (SRAM, FLASH)
    ]
    own = [Case(Profile.NATIVE, macs, system) for macs in members for system in (ON_CHIP, EMBEDDED)]
    bounded = [
        Case(Profile.NATIVE, macs, system, ample_spm=True)
        for macs in compared
        for system in (ON_CHIP, EMBEDDED)
        if large
    ]
    return (*found, *own, *bounded)


def cycle_tables(rows: Sequence[Row]) -> Iterator[str]:
    """All tables of cycles."""
    of = {profile: [one for one in rows if one.case.profile is profile] for profile in Profile}
    yield from ("### u55-clone: the compiler beside Vela, on the machine that Vela assumes", "")
    yield from _beside_vela(of[Profile.U55_CLONE])
    yield from ("### parity: our array, U55's memories", "")
    yield from _beside_vela(of[Profile.PARITY])
    yield from ("### native: the chip beside its bound", "")
    yield from _native(of[Profile.NATIVE])
    yield from ("### The estimate and the emulator", "", *_EQUAL_HEAD)
    yield from equality_rows(rows)
    yield ""


def _beside_vela(rows: Sequence[Row]) -> Iterator[str]:
    yield from _VELA_HEAD
    yield from (vela_row(one) for one in rows)
    compared = {one: ratio for one in rows if (ratio := vela_ratio(one)) is not None}
    if compared:
        yield from ("", *ratio_lines(compared))
    yield ""


def vela_ratio(measured: Row) -> float | None:
    """Our cycles of the better Vela core's, where both have the same room for feature maps.

    Of networks that are not quite the same, cycles of as many multiply-adds.
    """
    case = measured.case
    theirs = VELA.get((measured.network, case.macs, case.system))
    own_room = measured.network in LARGE and not case.ample_spm
    if theirs is None or own_room:
        return None
    scale = 1.0 if theirs.num_macs is None else theirs.num_macs / measured.num_macs
    return measured.cycles / theirs.best * scale


def ratio_lines(compared: dict[Row, float]) -> Iterator[str]:
    """The geometric means of the ratios, and the rows above 1."""
    for macs in COMPARED_MEMBERS:
        for system in (SRAM, FLASH):
            some = [
                ratio
                for one, ratio in compared.items()
                if (one.case.macs, one.case.system) == (macs, system)
            ]
            if some:
                mean = statistics.geometric_mean(some)
                count = f"{len(some)} ratios, the greatest {max(some):.3f}"
                yield f"- {macs} MACs, {system}: geometric mean {mean:.3f} of {count}."
    mean = statistics.geometric_mean(compared.values())
    above = ", ".join(_named(one) for one, ratio in compared.items() if ratio > 1) or "none"
    yield f"- All {len(compared)}: geometric mean **{mean:.3f}**; above 1: {above}."


def _named(measured: Row) -> str:
    room = " 2.25 MiB" if measured.case.ample_spm else ""
    return f"{measured.network} {measured.case.macs} {measured.case.system}{room}"


def _own_cells(measured: Row) -> tuple[str, ...]:
    case = measured.case
    room = "2.25 MiB" if case.ample_spm else "its own"
    fits = measured.emulated is not None
    return (
        measured.network,
        str(case.macs),
        case.system,
        room,
        f"{measured.cycles:,}" if fits else "does not fit",
        f"{measured.utilization:.1%}",
        f"{measured.map_bytes / 1024:.1f}",
        f"{measured.spm_bytes / 1024:.1f}",
        f"{measured.constant_bytes:,}",
    )


def vela_row(measured: Row) -> str:
    """A row beside Vela's numbers."""
    case = measured.case
    theirs = VELA.get((measured.network, case.macs, case.system))
    ratio = vela_ratio(measured)
    cells: tuple[str, ...] = ("-",) * 4
    if theirs is not None:
        cells = (
            f"{theirs.cycles:,}",
            _number(theirs.legacy_cycles),
            f"{theirs.sram_kib:,.1f}",
            _number(theirs.weight_bytes),
        )
    return row((*_own_cells(measured), *cells, "-" if ratio is None else f"{ratio:.3f}"))


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def analytic_bound(measured: Row) -> int | None:
    """The analytic bound of a native row."""
    bound = BOUNDS.get((measured.network, measured.case.macs))
    if bound is None:
        return None
    return bound.on_chip if measured.case.system == ON_CHIP else bound.flash


def own_bound(measured: Row) -> int:
    """What it needs at least: arithmetic by the analytic bound, or all of the array at work; or
    the time in which the port gives the constants that are read.
    """
    known = BOUNDS.get((measured.network, measured.case.macs))
    arithmetic = known.on_chip if known else -(-measured.num_macs // measured.case.macs)
    return max(arithmetic, measured.port_cycles)


def native_row(measured: Row) -> str:
    """A row beside the bounds."""
    bound = analytic_bound(measured)
    return row(
        (
            *_own_cells(measured),
            f"{measured.port_cycles:,}",
            _number(bound),
            "-" if bound is None else f"{measured.cycles / bound:.3f}",
            f"{measured.cycles / own_bound(measured):.3f}",
        )
    )


def _native(rows: Sequence[Row]) -> Iterator[str]:
    yield from (*_NATIVE_HEAD, *(native_row(one) for one in rows), "")
    for title, bound_of in (("the analytic bound", analytic_bound), ("bound or port", own_bound)):
        pairs = [(one, one.cycles / bound) for one in rows if (bound := bound_of(one))]
        if pairs:
            mean = statistics.geometric_mean([ratio for _, ratio in pairs])
            above = [f"{_named(one)} ({ratio:.2f})" for one, ratio in pairs if ratio > BOUND_FACTOR]
            over = f"above {BOUND_FACTOR}: {', '.join(above) or 'none'}"
            yield f"- Against {title}: geometric mean {mean:.3f} of {len(pairs)}; {over}."
    yield ""


def equality_rows(rows: Sequence[Row]) -> Iterator[str]:
    """How many rows of each network were emulated, and whether cycles and bytes were equal."""
    for network in dict.fromkeys(one.network for one in rows):
        mine = [one for one in rows if one.network == network]
        run = [one for one in mine if one.emulated is not None]
        cycles = sum(one.emulated == one.cycles for one in run)
        same = sum(one.same_bytes for one in run)
        yield row((network, str(len(mine)), str(len(run)), str(cycles), str(same)))


def depthwise_tables(rows: Sequence[Row]) -> Iterator[str]:
    """Use of the array by depthwise layers, natively from on-chip memory."""
    native = [one for one in rows if one.case == Case(Profile.NATIVE, one.case.macs, ON_CHIP)]
    yield from ("### The array's use from on-chip memory", "")
    yield from table_head(("model", "MACs", "whole model", "depthwise and separable layers"))
    for one in native:
        macs, cycles = (
            sum(layer.num_macs for layer in one.depthwise),
            sum(layer.cycles for layer in one.depthwise),
        )
        share = f"{macs / (cycles * one.case.macs):.1%}" if cycles else "-"
        yield row((one.network, str(one.case.macs), f"{one.utilization:.1%}", share))
    yield ""
    for one in native:
        if one.depthwise and one.case.macs in COMPARED_MEMBERS:
            yield from ("<details>", f"<summary>{one.network}, {one.case.macs}</summary>", "")
            yield from table_head(("layer", "result", "packets", "thousand MACs", "cycles", "used"))
            for number, layer in enumerate(one.depthwise):
                used = layer.num_macs / (layer.cycles * one.case.macs)
                kind = "separable" if layer.separable else "depthwise"
                macs_text = f"{layer.num_macs / 1e3:,.0f}"
                cells = (str(number), layer.name, kind, macs_text, f"{layer.cycles:,}")
                yield row((*cells, f"{used:.1%}"))
            yield from ("", "</details>", "")
