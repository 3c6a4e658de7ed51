"""The tables of the scratchpad: the least that works, given budgets, and the curve between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.npu.published import DIAGONAL_KIB, FLASH, LIVE_SUM_KIB, VELA, VELA_SIZE_KIB
from benchmarks.npu.rows import Case
from benchmarks.npu.subjects import Subject, segment_bodies
from benchmarks.page import row, table_head
from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.machine import Profile
from lepton_cc.codegen.npu.segment import compile_segment
from lepton_cc.codegen.npu.trade_off import BudgetPoint, trade_off
from lepton_cc.ir.graph import Graph

MACS = 256
SYSTEM = "on-chip"
BUDGETS_KIB = {
    "mobilenet_v2": 256,
    "vww_mobilenetv1_025": 40,
    "kws_dscnn": 10,
    "ic_resnet8": 34,
}
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Room:
    """A network's scratchpad: the curve of budgets, and the point of the given budget."""

    network: str
    curve: tuple[BudgetPoint, ...]
    budget: BudgetPoint | None


def measured_room(subject: Subject) -> Room:
    """Compiles the network for many budgets."""
    return room_of(subject.name, segment_bodies(subject.path))


def room_of(name: str, bodies: Sequence[Graph]) -> Room:
    """Compiles the segments for many budgets; those of ResNet-50, whose maps spill, for none."""
    machine = Case(Profile.NATIVE, MACS, SYSTEM).machine
    budget_kib = BUDGETS_KIB.get(name)
    budget = None
    if budget_kib is not None:
        limited = machine.with_spm(budget_kib * _KIB)
        segments = [compile_segment(body, limited, ConstantPool()) for body in bodies]
        used_bytes = max(segment.spm_bytes for segment in segments)
        cycles = sum(segment.timeline.cycles for segment in segments)
        budget = BudgetPoint(budget_kib, used_bytes, cycles)
    curve = () if name == "resnet50" else trade_off(bodies, machine)
    return Room(name, curve, budget)


def scratchpad_tables(rooms: list[Room]) -> Iterator[str]:
    """Both tables and the curves."""
    yield from (f"### Scratchpad, {MACS} MACs, {SYSTEM}", "")
    yield from table_head(
        (
            *("model", "least that works, KiB", "cycles", "slower", "live sum of whole maps, KiB"),
            *("with diagonal overlap", "Vela, Performance", "Vela, Size"),
        )
    )
    yield from (_least_row(room) for room in rooms if room.curve)
    yield from ("", *table_head(("model", "budget, KiB", "used, KiB", "cycles", "slower")))
    yield from (_budget_row(room, room.budget) for room in rooms if room.budget and room.curve)
    yield ""
    for room in rooms:
        if room.curve:
            yield from ("<details>", f"<summary>{room.network}: the curve</summary>", "")
            yield from table_head(("budget, KiB", "used, KiB", "cycles", "slower"))
            for point in room.curve:
                yield row((str(point.budget_kib), *_cells(room, point)))
            yield from ("", "</details>", "")


def _cells(room: Room, point: BudgetPoint) -> tuple[str, str, str]:
    # The whole scratchpad is the curve's last point.
    slower = point.cycles / room.curve[-1].cycles - 1
    return f"{point.used_bytes / _KIB:.1f}", f"{point.cycles:,}", f"{slower:.1%}"


def _least_row(room: Room) -> str:
    _, cycles, slower = _cells(room, room.curve[0])
    vela = VELA.get((room.network, MACS, FLASH))
    return row(
        (
            room.network,
            f"{room.curve[0].used_bytes / _KIB:.1f}",
            cycles,
            slower,
            _kib(LIVE_SUM_KIB.get(room.network)),
            _kib(DIAGONAL_KIB.get(room.network)),
            _kib(vela.sram_kib if vela else None),
            _kib(VELA_SIZE_KIB.get(room.network)),
        )
    )


def _kib(value: float | None) -> str:
    return "-" if value is None else f"{value:,g}"


def _budget_row(room: Room, point: BudgetPoint) -> str:
    used, cycles, slower = _cells(room, point)
    fits = point.used_bytes <= point.budget_kib * _KIB
    return row(
        (room.network, str(point.budget_kib), used, cycles if fits else "does not fit", slower)
    )
