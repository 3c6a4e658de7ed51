"""Timing two functions turn by turn on pinned CPUs: the least time of each counts."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# Seconds of one run, the mean over a number of runs.
Timer = Callable[[int], float]

_TURN_SECONDS = 0.005
_MIN_TURNS = 5
_MAX_TURNS = 101


@contextmanager
def pinned(num_cpus: int) -> Iterator[tuple[int, ...]]:
    """Keeps this process, and threads that it starts, on that many of its CPUs; gives which."""
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-num_cpus:]
    os.sched_setaffinity(0, chosen)
    try:
        yield tuple(chosen)
    finally:
        os.sched_setaffinity(0, before)


def least_in_turns(timers: Sequence[Timer], num_runs: int) -> tuple[float, ...]:
    """The least seconds a run of each function, over about `num_runs` runs of each.

    In turns of some milliseconds, since a busy or throttled machine would favour whichever ran in
    the better half; the least, since everything that disturbs a run makes it longer.
    """
    lengths = []
    for timer in timers:
        timer(1)
        lengths.append(max(1, int(_TURN_SECONDS / max(timer(3), 1e-7))))
    most = max(min(lengths), 1)
    num_turns = min(max(num_runs // most, _MIN_TURNS), _MAX_TURNS)
    counts = [max(1, min(length, num_runs // num_turns)) for length in lengths]
    least = [float("inf")] * len(timers)
    for _ in range(num_turns):
        for number, (timer, count) in enumerate(zip(timers, counts, strict=True)):
            least[number] = min(least[number], timer(count))
    return tuple(least)
