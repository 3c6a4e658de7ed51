"""The benchmark's arithmetic, and one small model through all of it."""

from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.contest import Contestant, Result, contestants, in_turns, measure
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.dtype import DType
from lepton_cc.measure.peak import peak_gmacs

RESULT = Result("net", 50e-6, 100e-6, 1_000_000, 1.25, 0.031, 4096, 4096)


def test_row_of_speed() -> None:
    row = run.speed_row(RESULT, peak=40.0)
    assert row == "| net | 50.0 | 100.0 | 2.00 | 20.0 | 50% | 1.2 | 0.03 | 4,096 | 4,096 |"


def test_page_is_replaced_between_its_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{run.BEGIN}\nold\n{run.END}\nbelow\n", encoding="utf-8")
    monkeypatch.setattr(run, "PAGE", page)
    run.write_page("new")
    expected = f"above\n{run.BEGIN}\nnew\n{run.END}\nbelow\n"
    assert page.read_text(encoding="utf-8") == expected


def test_the_page_has_the_markers() -> None:
    text = run.PAGE.read_text(encoding="utf-8")
    assert text.count(run.BEGIN) == text.count(run.END) == 1


def test_turns_give_the_least_of_each() -> None:
    mine = iter([1.0, 1.0, *(3.0 - i / 1000 for i in range(1000))])
    its = iter([1.0, 1.0, *(5.0 + i for i in range(1000))])
    least, other = in_turns(lambda _: next(mine), lambda _: next(its))
    assert least == pytest.approx(2.7)
    assert other == 5.0


@pytest.mark.slow
def test_one_model() -> None:
    target = load_target("host")
    model: Contestant = next(each for each in contestants() if each.name == "digits_cnn")
    result = measure(model, target)
    assert 0 < result.run_seconds < result.cold_seconds
    assert result.opponent_seconds > 0
    assert result.arena_bytes == result.lower_bound_bytes > 0
    peak = peak_gmacs(target, DType.F32)
    if peak is None:
        pytest.skip("no fused multiply-add here")
    # No code can multiply and add faster than the peak; a quarter more allows for turbo.
    assert result.num_macs / result.run_seconds / 1e9 < 1.25 * peak
