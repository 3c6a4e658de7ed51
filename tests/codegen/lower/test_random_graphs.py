"""Random graphs as machine code, with all passes and with none, against the interpreter.

How far a result may lie off is the graph's own business: an element after a long sum or near a
step of `floor` moves when something before it moves by its last place. The graph is therefore also
interpreted with every float result moved at random by a few last places; what that changes, several
times over, is allowed. What it leaves alone must be equal.
"""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.executable import Executable
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.ir.random_graphs import graphs, random_inputs

_NUM_NOISY_RUNS = 8
# Last places by which each float result is moved, and how much of the worst effect is allowed.
_NOISE_STEPS = 4.0
_ALLOWED = 4.0
_EPSILON = {DType.F64: 2.0**-52, DType.F32: 2.0**-23, DType.F16: 2.0**-10, DType.BF16: 2.0**-7}


def noisy_run(
    graph: Graph, inputs: Mapping[str, Array], rng: np.random.Generator
) -> tuple[Array, ...]:
    """The outputs when every float result, also within fused ops, is moved by some last places."""
    environment: dict[Value, Array] = {value: inputs[value.name] for value in graph.inputs}
    _evaluate(graph.ops, environment, rng)
    return tuple(environment[value] for value in graph.outputs)


def _evaluate(ops: tuple[Op, ...], known: dict[Value, Array], rng: np.random.Generator) -> None:
    for op in ops:
        if isinstance(op.kind, Fused):
            body = op.kind.body
            inner = {v: known[given] for v, given in zip(body.inputs, op.inputs, strict=True)}
            _evaluate(body.ops, inner, rng)
            results = tuple(inner[value] for value in body.outputs)
        else:
            results = op.kind.evaluate([None if v is None else known[v] for v in op.operands])
        for value, array in zip(op.results, results, strict=True):
            known[value] = array if isinstance(op.kind, Constant) else _moved(array, rng)


def _moved(array: Array, rng: np.random.Generator) -> Array:
    step = _EPSILON.get(DType.from_numpy(array.dtype))
    if step is None:
        return array
    factors = 1 + rng.choice([-1.0, 1.0], array.shape) * step * _NOISE_STEPS
    wide = array.astype(np.float64)
    scale = np.abs(wide[np.isfinite(wide)]).max(initial=0.0)
    # Sums and differences are off by last places of their terms, not of themselves.
    offset = rng.choice([-1.0, 1.0], array.shape) * step * scale
    return np.asarray(wide * factors + offset).astype(array.dtype)


def assert_within_noise(
    graph: Graph, inputs: Mapping[str, Array], results: Mapping[str, Array]
) -> None:
    """Compares results with the interpreter's as this file says."""
    expected = interpret(graph, inputs)
    runs = [
        noisy_run(graph, inputs, np.random.default_rng(seed)) for seed in range(_NUM_NOISY_RUNS)
    ]
    for number, name in enumerate(graph.output_names):
        want, got = expected[name], results[name]
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        exact, moved = want.astype(np.float64), [run[number].astype(np.float64) for run in runs]
        allowed = _ALLOWED * np.max([np.abs(run - exact) for run in moved], axis=0, initial=0.0)
        unstable = np.any([_unlike(run, exact) for run in moved], axis=0)
        off = np.abs(got.astype(np.float64) - exact)
        same = (got == want) | (np.isnan(exact) & np.isnan(got.astype(np.float64)))
        bad = ~(same | (off <= allowed) | unstable)
        assert not bad.any(), f"{name}: {got[bad][:5]} is not {want[bad][:5]}"


def _unlike(moved: NDArray[np.float64], exact: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where only one of two numbers is finite, or they are different infinities."""
    both = np.isfinite(moved) & np.isfinite(exact)
    same = (moved == exact) | (np.isnan(moved) & np.isnan(exact))
    return np.asarray(~both & ~same)


@pytest.mark.parametrize("level", [OptLevel.O0, OptLevel.O3], ids=lambda level: f"O{level.value}")
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs())
def test_code_computes_what_the_graph_says(level: OptLevel, graph: Graph) -> None:
    settings_ = LEVELS[level]
    with np.errstate(all="ignore"):
        graph = PassManager(settings_.passes).run(graph)
        program = assemble(graph, "random", load_target(HOST), settings_.schedule)
        inputs = random_inputs(graph)
        results = Executable(program, min(settings_.llvm_level, 1)).run(inputs)
        assert_within_noise(graph, inputs, results)
