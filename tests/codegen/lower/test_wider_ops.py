"""Machine code of the wider operator families against the interpreter, in vectors and without.

The cases are those of the importers' tests, so that a row there is tested down to the code.
"""

from collections.abc import Mapping

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.lower.context import ScheduleOptions
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.lower_recurrent import LowerRecurrent
from tests.lepton_cc.frontend import (
    test_classical,
    test_indexing,
    test_microsoft,
    test_normalization,
    test_odds,
    test_quantization,
    test_recurrent,
    test_resize,
    test_selection,
)
from tests.lepton_cc.frontend.node_case import NodeCase

SCHEDULES = {
    "plain": ScheduleOptions(vectorize=False, tile=False, parallelize=False),
    "full": ScheduleOptions(),
}
# Their exponentials differ from NumPy's in the last bit.
FUNCTIONS = ("sigmoid", "softmax")
# Movement and integers: not one bit may differ.
EXACT: Mapping[str, NodeCase] = (
    test_indexing.CASES
    | test_quantization.CASES
    | test_quantization.EXACT
    | {name: case for name, case in test_microsoft.QLINEAR.items() if name not in FUNCTIONS}
)
CLOSE: Mapping[str, NodeCase] = (
    test_selection.CASES
    | test_normalization.CASES
    | {name: test_recurrent.CASES[name] for name in list(test_recurrent.CASES)[::3]}
    | test_odds.CASES
    | test_microsoft.FLOATS
    | {name: test_classical.CASES[name] for name in list(test_classical.CASES)[::2]}
    | {name: test_resize.CASES[name] for name in list(test_resize.CASES)[::5]}
    | {name: test_resize.SAMPLES[name] for name in list(test_resize.SAMPLES)[::4]}
)


def _differences(case: NodeCase, schedule: str, rtol: float, atol: float) -> None:
    graph = case.graph()
    lowered = graph
    for pass_ in (LowerRecurrent(), FoldConstants()):
        lowered = pass_.run(lowered, Statistics())
    program = assemble(lowered, "case", load_target("host"), SCHEDULES[schedule])
    results = Executable(program, 1).run(case.feeds)
    for number, want in enumerate(case.interpreted(graph)):
        got = results[f"y{number}"]
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol, atol)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", EXACT)
def test_exactly_as_interpreted(name: str, schedule: str) -> None:
    _differences(EXACT[name], schedule, 0, 0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", CLOSE)
def test_as_interpreted(name: str, schedule: str) -> None:
    _differences(CLOSE[name], schedule, 2e-5, 2e-6)


@pytest.mark.parametrize("name", test_quantization.EXACT)
def test_fused_requantization_is_exact(name: str) -> None:
    """All passes: the requantization becomes the epilogue of the integer contraction."""
    case = test_quantization.EXACT[name]
    compilation = compile_model(case.model(), CompileOptions(load_target("host")))
    results = Executable(compilation.program, 1).run(case.feeds)
    (want,) = case.interpreted()
    np.testing.assert_array_equal(results["y0"], want)


@pytest.mark.parametrize("hidden", [1, 3, 8, 33])
@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_states_of_any_width(op_type: str, hidden: int) -> None:
    """Widths below, at and beside the lanes of a vector and the columns of one pass."""
    rng = np.random.default_rng(hidden)
    rows = test_recurrent.GATES[op_type] * hidden
    operands = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((4, 2, 5), (1, rows, 5), (1, rows, hidden), (1, 2 * rows))
    ]
    attributes = {"hidden_size": hidden}
    outputs = 3 if op_type == "LSTM" else 2
    case = NodeCase(op_type, operands, attributes, (1, 2, 3), outputs)
    _differences(case, "full", 5e-5, 5e-6)
