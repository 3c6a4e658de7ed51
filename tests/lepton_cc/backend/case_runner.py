"""Runs ONNX node tests in worker processes: a crash or a hang of generated code hits one case.

Cases are generated once; workers are forked from the process that holds them and take one case at
a time. A worker that dies or exceeds its time is replaced, and its case gets the blame.
"""

import enum
import multiprocessing
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

from lepton_cc.backend import LeptonBackend
from lepton_cc.ir.diagnostics import Refused

CASE_SECONDS = 20.0
# The expected values of these carry the rounding noise of a binary32 FFT: 2e-7 for an exact 0.
_NOISY_ATOL = {"test_dft_inverse": 1e-6, "test_dft_inverse_opset19": 1e-6}
# Two units in the last place: what expected values of these types are themselves good for.
_NARROW_RTOL = {"bfloat16": 2**-6, "float16": 2**-9}


class Verdict(enum.StrEnum):
    """How a case ended."""

    PASSED = "passed"
    REFUSED = "refused"
    WRONG = "wrong"
    ERROR = "error"
    CRASHED = "crashed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case's name, how it ended, and why if it did not pass; `code` is that of a refusal."""

    name: str
    verdict: Verdict
    detail: str = ""
    code: str = ""


class QuickBackend(LeptonBackend):
    """All graph passes and schedules; little effort in LLVM, whose own work is not under test."""

    llvm_level = 1


@cache
def node_cases() -> dict[str, TestCase]:
    """Every node test of the installed onnx, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Their expected values are made here, and some are random.
        np.random.seed(0)
        cases = collect_testcases(None)
    return {case.name: case for case in sorted(cases, key=lambda case: case.name)}


def run_case(case: TestCase) -> Outcome:
    """Runs one case in this process."""
    assert case.model is not None
    try:
        for inputs, expected in case.data_sets or ():
            prepared = QuickBackend.prepare(case.model)
            outputs = prepared.run([_array(value) for value in inputs])
            atol = max(case.atol, _NOISY_ATOL.get(case.name, 0.0))
            fault = _fault(outputs, [_array(value) for value in expected], case.rtol, atol)
            if fault:
                return Outcome(case.name, Verdict.WRONG, fault)
    except BackendIsNotSupposedToImplementIt as refusal:
        first = refusal.__cause__
        code = first.diagnostics[0].code if isinstance(first, Refused) else ""
        return Outcome(case.name, Verdict.REFUSED, str(refusal), code)
    except Exception as error:
        return Outcome(case.name, Verdict.ERROR, f"{type(error).__name__}: {error}")
    return Outcome(case.name, Verdict.PASSED)


def _array(value: object) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _fault(
    outputs: Sequence[NDArray[Any]], expected: Sequence[Any], rtol: float, atol: float
) -> str:
    """The first difference beyond the tolerance; integers and bools must be equal."""
    for number, (got, want) in enumerate(zip(outputs, expected, strict=True)):
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"output {number}: {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
        if want.dtype.kind in "biu":
            if not np.array_equal(got, want):
                return f"output {number}: {_first_difference(got, want, got != want)}"
            continue
        relative = max(rtol, _NARROW_RTOL.get(want.dtype.name, 0.0))
        wide_got, wide_want = got.astype(np.float64), want.astype(np.float64)
        close = np.isclose(wide_got, wide_want, rtol=relative, atol=atol, equal_nan=True)
        if not close.all():
            return f"output {number}: {_first_difference(got, want, ~close)}"
    return ""


def _first_difference(got: NDArray[Any], want: NDArray[Any], differs: NDArray[np.bool_]) -> str:
    at = tuple(int(i) for i in np.argwhere(differs)[0]) if differs.ndim else ()
    count = int(np.count_nonzero(differs))
    return f"{count} of {got.size} differ, at {at} it is {got[at]!r}, not {want[at]!r}"


# Worker processes


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    case: str = ""
    deadline: float = 0.0


def _serve(pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    cases = node_cases()
    while name := pipe.recv():
        pipe.send(run_case(cases[name]))


def _start() -> _Worker:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def run_cases(
    names: Sequence[str], num_workers: int = 2, seconds: float = CASE_SECONDS
) -> Iterator[Outcome]:
    """Runs cases in worker processes and gives their outcomes as they come."""
    node_cases()
    waiting = list(reversed(names))
    workers = [_start() for _ in range(min(num_workers, len(waiting)))]
    try:
        while waiting or any(worker.case for worker in workers):
            for number, worker in enumerate(workers):
                if not worker.case and waiting:
                    workers[number] = _give(worker, waiting.pop(), seconds)
            wait([worker.pipe for worker in workers if worker.case], timeout=1.0)
            for number, worker in enumerate(workers):
                outcome = _result(worker) if worker.case else None
                if outcome is not None:
                    yield outcome
                    alive = outcome.verdict not in (Verdict.CRASHED, Verdict.TIMEOUT)
                    worker.case = ""
                    if not alive:
                        workers[number] = _start()
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _give(worker: _Worker, name: str, seconds: float) -> _Worker:
    worker.pipe.send(name)
    worker.case, worker.deadline = name, time.monotonic() + seconds
    return worker


def _result(worker: _Worker) -> Outcome | None:
    """What became of a worker's case; None while it runs."""
    if worker.pipe.poll():
        try:
            return cast(Outcome, worker.pipe.recv())
        except EOFError:
            worker.process.join()
            code = worker.process.exitcode or 0
            why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Outcome(worker.case, Verdict.CRASHED, why)
    if time.monotonic() > worker.deadline:
        worker.process.kill()
        worker.process.join()
        return Outcome(worker.case, Verdict.TIMEOUT)
    return None
