"""The table of whole models: what a row says, and one model on a few samples."""

import pytest

from benchmarks.compare_models import TASKS, compare, main, table_row
from benchmarks.contest import TINY
from lepton_cc.verify.steps import StepDifference

SWW = next(task for task in TASKS if task.model == "sww_streaming")


def test_row_counts_steps() -> None:
    histogram = (96, 1, 2, 1, 0, 0, 0, 0, 0, 0)
    one = StepDifference("s8 fused", (), 100, histogram, 4, 3, 10)
    row = table_row("net", one)
    assert row == "| net | s8 fused | 100 | 96.00% | 1 | 2 | 1 | 4 | 7 of 10 |"


def test_a_model_equals_the_fused_graph(capsys: pytest.CaptureFixture[str]) -> None:
    if not any(TINY.glob("sww*_int8_qdq.onnx")):
        pytest.skip("no ../shared/models beside the checkout")
    differences = {one.name: one for one in compare(SWW, 6)}
    assert differences["s8 fused"].num_elements == 6 * 3
    assert differences["s8 fused"].num_different == 0
    main(["--only", "sww", "--samples", "2"])
    assert capsys.readouterr().out.count("| sww_streaming |") == len(differences)
