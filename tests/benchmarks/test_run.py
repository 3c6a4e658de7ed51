"""The benchmark's arithmetic, one small model through all of it, and the pages that it writes."""

from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.contest import TINY, Contestant, Result, contestants, in_turns, measure
from benchmarks.float_page import PAGE, speed_row
from benchmarks.int8_page import PAGE as INT8_PAGE
from benchmarks.page import BEGIN, END, write_page
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.dtype import DType
from lepton_cc.measure.peak import peak_gmacs

RESULT = Result("net", 50e-6, 100e-6, 1_000_000, 1.25, 0.031, 4096, 4096)


def test_row_of_speed() -> None:
    row = speed_row(RESULT, peak=40.0)
    assert row == "| net | 50.0 | 100.0 | 2.00 | 20.0 | 50% | 1.2 | 0.03 | 4,096 | 4,096 |"


def test_page_is_replaced_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n", encoding="utf-8")
    write_page(page, "new")
    assert page.read_text(encoding="utf-8") == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"


@pytest.mark.parametrize("page", [PAGE, INT8_PAGE], ids=lambda page: page.stem)
def test_pages_have_the_markers(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1


def test_turns_give_the_least_of_each() -> None:
    mine = iter([1.0, 1.0, *(3.0 - i / 1000 for i in range(1000))])
    its = iter([1.0, 1.0, *(5.0 + i for i in range(1000))])
    least, other = in_turns((lambda _: next(mine), lambda _: next(its)))
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


@pytest.mark.slow
def test_the_command_writes_the_page_of_quantized_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not any(TINY.glob("sww*_int8_qdq.onnx")):
        pytest.skip("no ../shared/models beside the checkout")
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\n{END}\n", encoding="utf-8")
    monkeypatch.setattr("benchmarks.int8_page.PAGE", page)
    run.main(["--int8", "--only", "sww", "--turns", "2", "--write"])
    text = page.read_text(encoding="utf-8")
    assert text == f"above\n{BEGIN}\n{capsys.readouterr().out}{END}\n"
    for heading in ("### One thread", "### What the core could do", "### Layers"):
        assert text.count(heading) == 1
    assert "### Two threads" not in text
    assert text.count("\n| sww_streaming |") == 2
    assert "<summary>sww_streaming</summary>" in text
