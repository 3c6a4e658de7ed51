"""Timing calls into a library from Python: a loop of them, and what an empty one costs."""

import importlib.metadata
import time
from collections.abc import Callable

_CALLS = 2_000
_TURNS = 15


def seconds_each(call: Callable[[], object], num_runs: int) -> float:
    """Seconds of one call, the mean over a loop."""
    start = time.perf_counter()
    for _ in range(num_runs):
        call()
    return (time.perf_counter() - start) / num_runs


def least_seconds(call: Callable[[], object]) -> float:
    """Seconds of one call, the least of some turns: for calls that do nothing."""
    return min(seconds_each(call, _CALLS) for _ in range(_TURNS))


def installed_version(distribution: str) -> str:
    """The version of a package, empty where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
