"""The tensor engine's page: one small network through all of it, and what its tables say."""

import dataclasses
from pathlib import Path

import pytest

import lepton_cc
from benchmarks.npu.cycle_tables import (
    cycle_tables,
    depthwise_tables,
    equality_rows,
    own_bound,
    vela_ratio,
)
from benchmarks.npu.published import BOUNDS, FLASH, SRAM, VELA
from benchmarks.npu.rows import Case, Row, expected_run, measured_row
from benchmarks.npu.scratchpad_tables import Room, room_of, scratchpad_tables
from benchmarks.npu.subjects import TARGET
from lepton_cc.codegen.npu.machine import Profile
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.segment import EngineSegment

DIGITS = Path(__file__).resolve().parents[2] / "models" / "digits_dscnn.onnx"
CASES = (
    Case(Profile.U55_CLONE, 256, FLASH),
    Case(Profile.PARITY, 128, SRAM, ample_spm=True),
    Case(Profile.NATIVE, 256, "on-chip"),
    Case(Profile.NATIVE, 1024, "embedded"),
)


@pytest.fixture(scope="module")
def bodies() -> tuple[Graph, ...]:
    graph = lepton_cc.compile(DIGITS, target=TARGET, quantize="w8a8").compilation.graph
    return tuple(op.kind.body for op in graph.ops if isinstance(op.kind, EngineSegment))


@pytest.fixture(scope="module")
def rows(bodies: tuple[Graph, ...]) -> list[Row]:
    runs = [expected_run(body) for body in bodies]
    return [measured_row("digits", case, bodies, runs) for case in CASES]


def test_the_emulator_counts_what_the_compiler_estimates(rows: list[Row]) -> None:
    for one in rows:
        assert one.emulated == one.cycles > 0
        assert one.same_bytes
        assert 0 < one.utilization <= 1
        assert one.map_bytes <= one.spm_bytes <= one.case.machine.member.spm_bytes
    assert list(equality_rows(rows)) == ["| digits | 4 | 4 | 4 | 4 |"]


def test_a_wrong_result_is_counted(rows: list[Row]) -> None:
    slow = dataclasses.replace(rows[0], emulated=rows[0].cycles + 1)
    wrong = dataclasses.replace(rows[1], same_bytes=False)
    large = dataclasses.replace(rows[2], emulated=None)
    assert list(equality_rows([slow, wrong, large])) == ["| digits | 3 | 2 | 1 | 1 |"]


def test_depthwise_layers_keep_their_macs(rows: list[Row]) -> None:
    native = rows[2]
    assert native.depthwise
    for layer in native.depthwise:
        assert 0 < layer.num_macs <= layer.cycles * native.case.macs
    assert sum(layer.cycles for layer in native.depthwise) < native.cycles
    assert any("% |" in line for line in depthwise_tables(rows))


def _like_vela(measured: Row, network: str, factor: float) -> Row:
    case = Case(Profile.U55_CLONE, 256, FLASH)
    cycles = round(VELA[network, 256, FLASH].best * factor)
    return dataclasses.replace(measured, network=network, case=case, cycles=cycles)


def test_ratios_are_to_the_better_core(rows: list[Row]) -> None:
    theirs = VELA["kws_dscnn", 256, FLASH]
    assert theirs.legacy_cycles == theirs.best < theirs.cycles
    half, double = (
        _like_vela(rows[0], name, factor)
        for name, factor in (("kws_dscnn", 0.5), ("sww_streaming", 2.0))
    )
    assert vela_ratio(half) == pytest.approx(0.5, abs=1e-4)
    text = "\n".join(cycle_tables([half, double]))
    assert "geometric mean **1.000**; above 1: sww_streaming 256 u55-flash." in text


def test_large_maps_are_compared_with_ample_room_only(rows: list[Row]) -> None:
    own = _like_vela(rows[0], "mobilenet_v2", 1.0)
    assert vela_ratio(own) is None
    ample = dataclasses.replace(own, case=dataclasses.replace(own.case, ample_spm=True))
    assert vela_ratio(ample) == pytest.approx(1.0)


def test_networks_of_other_sizes_are_compared_by_their_macs(rows: list[Row]) -> None:
    other = VELA["resnet50", 256, FLASH]
    assert other.num_macs is not None
    ours = dataclasses.replace(
        _like_vela(rows[0], "resnet50", 1.1),
        num_macs=round(other.num_macs * 1.1),
        case=Case(Profile.U55_CLONE, 256, FLASH, ample_spm=True),
    )
    assert vela_ratio(ours) == pytest.approx(1.0)


def test_the_port_bounds_what_is_read_slowly(rows: list[Row]) -> None:
    native = dataclasses.replace(
        rows[2], network="ad_autoencoder", case=Case(Profile.NATIVE, 256, "on-chip")
    )
    arithmetic = BOUNDS["ad_autoencoder", 256].on_chip
    assert own_bound(dataclasses.replace(native, port_cycles=1)) == arithmetic
    assert own_bound(dataclasses.replace(native, port_cycles=arithmetic + 1)) == arithmetic + 1


def test_the_scratchpad_has_a_curve(bodies: tuple[Graph, ...]) -> None:
    room: Room = room_of("digits", bodies)
    budgets = [point.budget_kib for point in room.curve]
    assert budgets == sorted(budgets)
    assert budgets[0] * 1024 >= room.curve[0].used_bytes > (budgets[0] - 1) * 1024
    lines = list(scratchpad_tables([room]))
    assert any(line.startswith("| digits |") for line in lines)
