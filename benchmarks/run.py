"""Times the models of this repository, compiled for the host, against ONNX Runtime on one thread.

`make bench` runs it. The two are measured in turns, since a busy or throttled machine would favour
whichever ran in the better half; the medians of the turns are printed.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

import lepton_cc

MODELS = Path(__file__).resolve().parent.parent / "models"
TARGET = "x86-64"
NUM_TURNS = 11
RUNS_PER_TURN = 2000


@dataclass(frozen=True, slots=True)
class Timing:
    """One model's medians; the compiled model's excludes Python, ONNX Runtime's includes it."""

    model: str
    compile_seconds: float
    run_seconds: float
    onnxruntime_seconds: float


def onnxruntime_bench(path: Path) -> Callable[[int], float]:
    """A function that gives ONNX Runtime's seconds per run, over so many runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = np.load(MODELS / "digits_samples.npz")["x"][:1]

    def bench(num_runs: int) -> float:
        start = time.perf_counter()
        for _ in range(num_runs):
            session.run(None, {"image": image})
        return (time.perf_counter() - start) / num_runs

    return bench


def measure(path: Path) -> Timing:
    """Compile one model and time it and ONNX Runtime in turns."""
    start = time.perf_counter()
    model = lepton_cc.compile(path, target=TARGET, opt=3)
    compile_seconds = time.perf_counter() - start
    reference = onnxruntime_bench(path)
    turns = [(model.bench(RUNS_PER_TURN), reference(RUNS_PER_TURN)) for _ in range(NUM_TURNS)]
    return Timing(
        model=path.stem,
        compile_seconds=compile_seconds,
        run_seconds=statistics.median(ours for ours, _ in turns),
        onnxruntime_seconds=statistics.median(theirs for _, theirs in turns),
    )


def timings_table(timings: list[Timing]) -> Table:
    """A row for each model."""
    table = Table(title=f"{TARGET}, batch 1, one thread")
    table.add_column("model")
    for heading in ("compiled in", "a run", "ONNX Runtime, Python included"):
        table.add_column(heading, justify="right")
    for timing in timings:
        table.add_row(
            timing.model,
            f"{timing.compile_seconds:.2f} s",
            f"{timing.run_seconds * 1e6:.2f} us",
            f"{timing.onnxruntime_seconds * 1e6:.2f} us",
        )
    return table


def main() -> None:
    """Measure every model and print the table."""
    timings = [measure(path) for path in sorted(MODELS.glob("*.onnx"))]
    Console().print(timings_table(timings))


if __name__ == "__main__":
    main()
