"""The tables of docs/benchmarks-npu.md: cycles, scratchpad, compile time, accuracy."""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.npu.accuracy import Accuracy, accuracy_tables, measured_accuracy, tasks
from benchmarks.npu.compile_time import compile_seconds, compile_table
from benchmarks.npu.cycle_tables import cases, cycle_tables, depthwise_tables
from benchmarks.npu.rows import Row, measured_rows
from benchmarks.npu.scratchpad_tables import Room, measured_room, scratchpad_tables
from benchmarks.npu.subjects import Subject, subjects
from benchmarks.npu.trained import TrainedModel, checked_models, trained_table
from benchmarks.page import DOCS

PAGE = DOCS / "benchmarks-npu.md"


@dataclass(frozen=True, slots=True)
class Measured:
    """All about one network but the time to compile it."""

    rows: tuple[Row, ...]
    room: Room


def measured(subject: Subject) -> Measured:
    """Compiles and emulates one network on every machine."""
    return Measured(tuple(measured_rows(subject, cases(subject))), measured_room(subject))


def npu_tables(only: str, show: Callable[[str], None]) -> str:
    """Measures every network whose name contains `only`, on all CPUs but for compile times."""
    with tempfile.TemporaryDirectory() as folder:
        found = tuple(subjects(only, Path(folder)))
        show("compile times")
        seconds = {one.name: compile_seconds(one.path) for one in found}
        networks: list[Measured] = []
        accuracies: list[Accuracy] = []
        trained: list[TrainedModel] = []
        with ProcessPoolExecutor(max(os.cpu_count() or 1, 1)) as pool:
            # The longest come last in the list, and are begun first.
            running = [pool.submit(measured, one) for one in reversed(found)]
            scoring = [pool.submit(measured_accuracy, task) for task in tasks(only)]
            checking = [pool.submit(checked_models, only)]
            for one, network in zip(found, reversed(running), strict=True):
                networks.append(network.result())
                show(f"{one.name}: {len(networks[-1].rows)} machines")
            for score in scoring:
                accuracies += score.result()
                show(f"{accuracies[-1].model}: accuracy")
            for check in checking:
                trained += check.result()
    return "\n".join(_sections(networks, seconds, accuracies, trained))


def _sections(
    networks: list[Measured],
    seconds: dict[str, float],
    accuracies: list[Accuracy],
    trained: list[TrainedModel],
) -> Iterator[str]:
    rows = [one for network in networks for one in network.rows]
    yield from cycle_tables(rows)
    yield from depthwise_tables(rows)
    yield from scratchpad_tables([network.room for network in networks])
    yield from compile_table(seconds)
    yield from accuracy_tables(accuracies)
    yield from trained_table(trained)
