"""How far samples can be trusted: a damping that is chosen by the samples that were left out."""

from collections.abc import Callable

from lepton_cc.ir.tensor import Array
from lepton_cc.passes.reconstruct.output_moments import FitMoments

# Shares of the mean variance that is added to all directions; the first if nothing speaks for more.
DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0)
# A larger one must be better by this share: it forgets something.
_CLEARLY = 0.99

Solve = Callable[[FitMoments, float], Array]


def chosen_damping(halves: tuple[FitMoments, FitMoments], solve: Solve) -> float:
    """The damping with which weights solved for on each half miss least of the other half.

    `solve` gives weights [G, K, O] for moments and a damping. Stone, Cross-Validatory Choice
    (1974), with two parts: few samples, or such as resemble each other, ask for more.
    """
    if not all(half.num_positions for half in halves):
        return DAMPINGS[0]
    best, least = DAMPINGS[0], float("inf")
    for damping in DAMPINGS:
        error = sum(
            judge.centered().relative_error(solve(taught, damping))
            for taught, judge in (halves, halves[::-1])
        )
        if error < _CLEARLY * least:
            best, least = damping, error
    return best
