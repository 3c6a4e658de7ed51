"""`bench`: one model, compiled or saved, timed on pinned CPUs, ONNX Runtime in turns with it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lepton_cc.compiler import Compilation
from lepton_cc.executable import Executable
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS
from lepton_cc.measure.layer_times import LayerTime, timed_layers
from lepton_cc.measure.opponent import Opponent
from lepton_cc.measure.saved_profile import saved_profile
from lepton_cc.measure.spin_pool import SpinPool
from lepton_cc.measure.turns import Timer, least_in_turns, pinned
from lepton_cc.report import LayerReport, layer_reports
from lepton_cc.saved_model import SavedModel
from lepton_cc.thread_pool import LentThreads


class Contender(Protocol):
    """A model with its inputs in place."""

    target: Target
    layers: tuple[LayerReport, ...]

    def run(self, threads: LentThreads | None) -> None:
        """One run."""

    def seconds(self, num_runs: int) -> float:
        """Seconds of one run on one thread, the mean over a loop of machine code."""

    def profile(self, num_runs: int) -> tuple[LayerTime, ...]:
        """The least seconds of each layer, on one thread."""


class CompiledContender:
    """A compilation in this process."""

    def __init__(self, compilation: Compilation, inputs: Mapping[str, Array]) -> None:
        self._compilation = compilation
        self._inputs = inputs
        self.target = compilation.program.target
        self.layers = layer_reports(compilation.program)
        self._code = self._executable(profile=False)
        self._call = self._code.prepare(inputs)

    def _executable(self, *, profile: bool) -> Executable:
        level = LEVELS[self._compilation.options.level].llvm_level
        return Executable(self._compilation.program, level, profile=profile)

    @property
    def outputs(self) -> Mapping[str, Array]:
        """Those of the last run."""
        return self._call.outputs

    def run(self, threads: LentThreads | None) -> None:
        self._call.run(threads)

    def seconds(self, num_runs: int) -> float:
        return self._call.seconds(num_runs)

    def profile(self, num_runs: int) -> tuple[LayerTime, ...]:
        executable = self._executable(profile=True)
        call = executable.prepare(self._inputs)
        return timed_layers(call.run, executable.ticks, self.layers, num_runs)


class SavedContender:
    """A folder that was compiled for this machine."""

    def __init__(self, model: SavedModel, inputs: Mapping[str, Array]) -> None:
        self._model, self._inputs = model, inputs
        self._call = model.prepare(inputs)
        self.target = model.build.target
        self.layers = model.build.layers

    def run(self, threads: LentThreads | None) -> None:
        self._call.run(threads)

    def seconds(self, num_runs: int) -> float:
        return self._call.seconds(num_runs)

    def profile(self, num_runs: int) -> tuple[LayerTime, ...]:
        return saved_profile(self._model, self._inputs, num_runs)


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The least seconds of a run of each; `cpus` are those that everything ran on."""

    seconds: float
    opponent_seconds: float | None
    opponent_version: str
    num_macs: int
    num_threads: int
    cpus: tuple[int, ...]
    profile: tuple[LayerTime, ...]

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds a second."""
        return self.num_macs / self.seconds / 1e9

    @property
    def ratio(self) -> float | None:
        """How many times as long the opponent takes."""
        return None if self.opponent_seconds is None else self.opponent_seconds / self.seconds


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to measure; `against` is a model for ONNX Runtime."""

    num_runs: int = 1000
    num_threads: int = 1
    against: Path | None = None
    profile: bool = False


def bench(contender: Contender, inputs: Mapping[str, Array], options: BenchOptions) -> BenchResult:
    """Times a model, and ONNX Runtime in turns with it.

    Raises:
        ToolchainError: ONNX Runtime is asked for and not installed.
        UsageError: a profile is asked for, and the code has no hooks.
    """
    num_threads = options.num_threads
    pool = SpinPool(num_threads, contender.target) if num_threads > 1 else None
    with pinned(num_threads) as cpus:
        opponent = None
        if options.against is not None:
            opponent = Opponent(options.against, inputs, num_threads=num_threads)
        ours = contender.seconds if pool is None else threaded(contender, pool)
        timers: Sequence[Timer] = (ours, opponent.seconds) if opponent else (ours,)
        seconds, *others = least_in_turns(timers, options.num_runs)
        profile = contender.profile(options.num_runs) if options.profile else ()
    return BenchResult(
        seconds,
        others[0] if others else None,
        opponent.version if opponent else "",
        sum(layer.num_macs for layer in contender.layers),
        num_threads,
        cpus,
        profile,
    )


def threaded(contender: Contender, pool: SpinPool) -> Timer:
    """A timer of runs on a pool's threads, which spin only in these runs."""

    def seconds(num_runs: int) -> float:
        # In our turns only: whoever spins in the opponent's would take its CPU.
        with pool:
            start = time.perf_counter()
            for _ in range(num_runs):
                contender.run(pool)
            return (time.perf_counter() - start) / num_runs

    return seconds
