"""Stretches: what the control core runs of a program between two segments of the tensor engine.

The entry points that do not wait (NAME_start, NAME_poll) run one and start the segment behind it.
"""

from dataclasses import dataclass

from lepton_cc.codegen.program import Call, Program


@dataclass(frozen=True, slots=True)
class Stretch:
    """Kernel calls with their numbers in the program, then a segment; None: the program's end."""

    calls: tuple[tuple[int, Call], ...]
    segment: int | None


def stretches(program: Program) -> tuple[Stretch, ...]:
    """The program cut behind each segment; the last stretch may have no calls."""
    found: list[Stretch] = []
    calls: list[tuple[int, Call]] = []
    for number, call in enumerate(program.calls):
        if call.segment is None:
            calls.append((number, call))
        else:
            found.append(Stretch(tuple(calls), call.segment))
            calls = []
    return (*found, Stretch(tuple(calls), None))
