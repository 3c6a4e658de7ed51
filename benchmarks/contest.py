"""The models that are measured, and one model's measurement: ours and ONNX Runtime's in turns."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import onnx

from benchmarks.networks import mobilenet_v2
from lepton_cc.codegen import assemble
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.measure.opponent import Opponent
from lepton_cc.passes.memory import order_for_lowest_peak, plan_memory

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT.parent / "shared" / "models" / "mlperf_tiny"
NUM_TURNS = 301
TURN_SECONDS = 0.002
_COMMAND = "from lepton_cc.cli.main import lepton_cc; lepton_cc()"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model under the name that the table shows; `emulated`: worth counting on the core."""

    name: str
    load: Callable[[], onnx.ModelProto]
    emulated: bool = True


def contestants() -> Iterator[Contestant]:
    """MLPerf Tiny's models if they are beside the checkout, this repository's, MobileNetV2."""
    for folder, pattern in ((TINY, "*_fp32.onnx"), (ROOT / "models", "*.onnx")):
        for path in sorted(folder.glob(pattern)):
            yield Contestant(path.stem, lambda path=path: onnx.load(path))  # type: ignore[misc]
    yield Contestant("mobilenet_v2 (224, random weights)", mobilenet_v2, emulated=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured: the least seconds of a run of each, and the figures of the build.

    A Python call's share is taken off `opponent_seconds` already.
    `cold_seconds`: a process of `lepton-cc`, from start to files; `planning_seconds`: the order of
    the operations and the places of the buffers.
    """

    name: str
    run_seconds: float
    opponent_seconds: float
    num_macs: int
    cold_seconds: float
    planning_seconds: float
    arena_bytes: int
    lower_bound_bytes: int


def sample_inputs(model: onnx.ModelProto) -> dict[str, Array]:
    """Random floats, the same in each run, for every input of a model."""
    generator = np.random.default_rng(0)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    return {
        each.name: generator.standard_normal(
            [dim.dim_value for dim in each.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for each in inputs
    }


def measure(contestant: Contestant, target: Target, *, num_turns: int = NUM_TURNS) -> Result:
    """Builds and times one model."""
    model = contestant.load()
    inputs = sample_inputs(model)
    with planning_timer() as planning:
        compilation = compile_model(model, CompileOptions(target, name="model"))
    program = compilation.program
    executable = Executable(program, LEVELS[OptLevel.O3].llvm_level)
    ours, theirs = executable.prepare(inputs), Opponent(model, inputs)
    run_seconds, opponent_seconds = in_turns((ours.seconds, theirs.seconds), num_turns=num_turns)
    return Result(
        contestant.name,
        run_seconds,
        opponent_seconds,
        sum(call.num_macs for call in program.calls),
        cold_seconds(model, target),
        sum(planning),
        program.arena_bytes,
        program.plan.lower_bound_bytes,
    )


def in_turns(
    timers: Sequence[Callable[[int], float]],
    *,
    num_turns: int = NUM_TURNS,
    turn_seconds: float = TURN_SECONDS,
    rest: Callable[[], None] = lambda: None,
) -> tuple[float, ...]:
    """The least seconds a run of functions of a number of runs, measured turn by turn.

    Turns, since a busy or throttled machine would favour whichever ran in the better half; the
    least, since everything that disturbs a run makes it longer. `rest` is called before each turn.
    """
    counts = []
    for timer in timers:
        timer(1)
        counts.append(max(1, int(turn_seconds / max(timer(3), 1e-7))))
    least = [float("inf")] * len(timers)
    for _ in range(num_turns):
        for number, (timer, count) in enumerate(zip(timers, counts, strict=True)):
            rest()
            least[number] = min(least[number], timer(count))
    return tuple(least)


def cold_seconds(model: onnx.ModelProto, target: Target) -> float:
    """Seconds of a `lepton-cc` process that compiles the model to a library."""
    with tempfile.TemporaryDirectory(prefix="lepton-bench-") as directory:
        path = Path(directory) / "model.onnx"
        onnx.save(model, path)
        start = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-c", _COMMAND, str(path), "-O3", f"--target={target.name}"),
                *("-q", "-o", str(Path(directory) / "out")),
            ],
            check=True,
            cwd=ROOT,
        )
        return time.perf_counter() - start


@contextmanager
def planning_timer() -> Iterator[list[float]]:
    """Collects the seconds that ordering and placing take in the `with` block."""
    seconds: list[float] = []

    def timed(function: Callable[[_Asked], _Answer]) -> Callable[[_Asked], _Answer]:
        def call(asked: _Asked) -> _Answer:
            start = time.perf_counter()
            answer = function(asked)
            seconds.append(time.perf_counter() - start)
            return answer

        return call

    with (
        patch.object(assemble, "plan_memory", timed(plan_memory)),
        patch.object(assemble, "order_for_lowest_peak", timed(order_for_lowest_peak)),
    ):
        yield seconds
