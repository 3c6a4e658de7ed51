"""The data of a calibration: given and checked, or made up; one sample at a time."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lepton_cc.calibration.sample_stream import Stack, array_stacks, file_stacks
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.sample_inputs import made_up, num_stacked

CalibrationSource = str | os.PathLike[str] | Mapping[str, Array]

NUM_MADE_UP = 32
MADE_UP_SEED = 0
# Runs of neighbouring samples, every how many of which is held out.
_NUM_RUNS, _FOLD = 16, 4
_HINT = "numpy.savez('calibration.npz', {name}=x) with x {type} of shape [samples, ...]"


class Samples(Protocol):
    """Samples of all graph inputs that may be run through as often as one likes."""

    @property
    def num_samples(self) -> int:
        """How many there are."""

    def samples(self) -> Iterator[dict[str, Array]]:
        """Every sample, by input name."""


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """Samples of all graph inputs; `sha256` is of the arrays that were used, empty if made up.

    watch: is told before each sample how many there were in this run.
    """

    inputs: tuple[Value, ...]
    stacks: Mapping[str, Stack]
    num_samples: int
    sha256: str
    watch: Callable[[int], None] = field(default=lambda number: None, compare=False)

    @property
    def is_made_up(self) -> bool:
        """True if the numbers are random."""
        return not self.stacks and bool(self.inputs)

    def samples(self) -> Iterator[dict[str, Array]]:
        """Every sample, by input name."""
        if self.is_made_up:
            generator = np.random.default_rng(MADE_UP_SEED)
            for number in range(self.num_samples):
                self.watch(number)
                yield {value.name: made_up(value.type, generator) for value in self.inputs}
            return
        rows = {value.name: self.stacks[value.name].rows(self.num_samples) for value in self.inputs}
        shapes = {value.name: value.type.dims for value in self.inputs}
        for number in range(self.num_samples):
            self.watch(number)
            yield {name: next(row).reshape(shapes[name]) for name, row in rows.items()}


def watched(data: CalibrationData, tell: Callable[[str], None]) -> CalibrationData:
    """The same data; each per cent of each run through them is told in words."""
    num_runs, last = 0, -1

    def watch(number: int) -> None:
        nonlocal num_runs, last
        num_runs += number == 0
        share = 100 * number // data.num_samples
        if share != last:
            last = share
            tell(f"run {num_runs}, sample {number:,} of {data.num_samples:,}")

    return replace(data, watch=watch)


@dataclass(frozen=True, slots=True)
class Fold:
    """A quarter of the samples, held out, or the others.

    Those held out come in runs: neighbours in a data set are often of one recording.
    """

    data: CalibrationData
    is_held_out: bool

    def _is_in(self, number: int) -> bool:
        run = number * _NUM_RUNS // self.data.num_samples
        return (run % _FOLD == _FOLD - 1) is self.is_held_out

    @property
    def num_samples(self) -> int:
        """How many of the samples are in it."""
        return sum(self._is_in(number) for number in range(self.data.num_samples))

    def samples(self) -> Iterator[dict[str, Array]]:
        """Its samples, in order."""
        for number, sample in enumerate(self.data.samples()):
            if self._is_in(number):
                yield sample


def made_up_data(graph: Graph) -> CalibrationData:
    """Standard normal floats (zeros and ones of other types), the same each time."""
    return CalibrationData(graph.inputs, {}, NUM_MADE_UP, "")


def calibration_data(graph: Graph, source: CalibrationSource) -> CalibrationData:
    """The samples of a file or of arrays, after they were looked at once.

    `[n, *shape]` holds n samples of a `[*shape]` input; so does `[n, *rest]` of a `[1, *rest]` one.
    For a model with one input, the only array that fits is taken, whatever its name.

    Raises:
        Refused: an input is missing, has another dtype or shape, is empty, holds NaN or infinity,
            or never changes; the numbers of samples differ. All that is wrong is named.
    """
    given = array_stacks(source) if isinstance(source, Mapping) else file_stacks(Path(source))
    chosen: dict[str, Stack] = {}
    counts: dict[str, int] = {}
    problems: list[Diagnostic] = []
    for value in graph.inputs:
        stack = _chosen(value, graph, given)
        found = _form_problem(value, stack, given)
        if stack is None or found is not None:
            problems += [] if found is None else [found]
            continue
        chosen[value.name] = stack
        counts[value.name] = num_stacked(value.type, stack.dtype, stack.shape) or 0
        problems += _content_problems(value, stack, counts[value.name])
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        problems.append(_problem(f"the numbers of samples differ: {listed}"))
    if problems:
        raise Refused(problems)
    digest = hashlib.sha256()
    for name in sorted(chosen):
        digest.update(f"{name}:".encode() + chosen[name].digest())
    return CalibrationData(
        graph.inputs, chosen, max(counts.values(), default=0), digest.hexdigest()
    )


def _problem(message: str, hint: str = "") -> Diagnostic:
    return Diagnostic(Code.BAD_CALIBRATION_DATA, f"calibration data: {message}", hint=hint)


def _chosen(value: Value, graph: Graph, given: Mapping[str, Stack]) -> Stack | None:
    if value.name in given or len(graph.inputs) > 1:
        return given.get(value.name)
    fitting = [s for s in given.values() if num_stacked(value.type, s.dtype, s.shape) is not None]
    return fitting[0] if len(fitting) == 1 else None


def _form_problem(
    value: Value, stack: Stack | None, given: Mapping[str, Stack]
) -> Diagnostic | None:
    hint = _HINT.format(name=value.name, type=value.type.dtype.value)
    if stack is None:
        found = ", ".join(f"{name} {_form(one)}" for name, one in given.items()) or "nothing"
        return _problem(f"input {value.name!r} ({value.type}) is missing; there is {found}", hint)
    count = num_stacked(value.type, stack.dtype, stack.shape)
    if count is None:
        form = _form(stack)
        return _problem(f"input {value.name!r} is {form}, the model takes {value.type}", hint)
    return _problem(f"input {value.name!r} holds no sample", hint) if count == 0 else None


def _form(stack: Stack) -> str:
    return f"{stack.dtype}[{', '.join(map(str, stack.shape))}]"


def _content_problems(value: Value, stack: Stack, count: int) -> Iterator[Diagnostic]:
    if not value.type.dtype.is_float or not value.type.num_elements:
        return
    num_broken, first_broken = 0, -1
    low, high = np.inf, -np.inf
    for number, row in enumerate(stack.rows(count)):
        wide = row.astype(np.float64)
        finite = np.isfinite(wide)
        if not finite.all():
            first_broken = number if num_broken == 0 else first_broken
            num_broken += int(wide.size - np.count_nonzero(finite))
        elif wide.size:
            low, high = min(low, float(wide.min())), max(high, float(wide.max()))
    if num_broken:
        yield _problem(
            f"input {value.name!r} has {num_broken} NaN or infinite elements, "
            f"the first in sample {first_broken}",
            "leave these samples out",
        )
    elif low == high and value.type.num_elements * count > 1:
        yield _problem(
            f"input {value.name!r} is {low:g} everywhere, which says nothing about its range",
            "give samples that look like those of the device",
        )
