"""The status codes of `include/lepton/lepton.h`, for what calls generated code from Python."""

import enum


class Status(enum.IntEnum):
    """Result of a generated function; a test holds it equal to the header."""

    OK = 0
    BUSY = 1
    ERROR_NULL_ARGUMENT = -1
    ERROR_MISALIGNED_ARENA = -2
    ERROR_MISALIGNED_BUFFER = -3
    ERROR_INDEX_OUT_OF_RANGE = -4
    ERROR_DIVISION_BY_ZERO = -5
    ERROR_UNSUPPORTED_CPU = -6
    ERROR_DEVICE = -7


def status_text(status: int) -> str:
    """Writes a status as `LEPTON_ERROR_DEVICE (-7)`, or the bare number if it is none of ours."""
    try:
        return f"LEPTON_{Status(status).name} ({status})"
    except ValueError:
        return str(status)
