"""Which loops are worth a second thread: an estimate of what they take on one.

Handing out a loop and waiting for all of it costs one to two microseconds with threads that spin.
"""

import enum

from lepton_cc.codegen.lower.context import KernelContext

WORTH_NANOSECONDS = 4096.0
# An accumulator that is requantized, or a result element that is computed and stored.
_NANOSECONDS_A_RESULT = 0.08


class Rate(float, enum.Enum):
    """Multiply-adds in a nanosecond that loops reach, in orders of magnitude."""

    ELEMENTS = 64.0  # of one lane each
    TAPS = 120.0  # dot products of words made in registers
    WORDS = 400.0  # dot products
    MATRICES = 1500.0  # a matrix unit


def worth_threads(
    context: KernelContext, num_muladds: int, num_results: int, rate: Rate = Rate.ELEMENTS
) -> bool:
    """Whether the context's loops may be split between threads, and take long enough for it."""
    nanoseconds = num_muladds / rate.value + num_results * _NANOSECONDS_A_RESULT
    return context.options.parallelize and nanoseconds >= WORTH_NANOSECONDS
