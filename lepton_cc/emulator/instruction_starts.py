"""Finds where instructions start in RISC-V machine code, for counting by address ranges."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def instruction_starts(text: bytes, functions: Iterable[int]) -> NDArray[np.bool_]:
    """Marks the halfwords of `text` where an instruction starts: `[len(text) / 2]`, bool.

    `functions` are byte offsets at which code certainly starts: the linear walk begins anew there,
    so that padding or data before a function cannot shift it. Source of the length rule: The
    RISC-V Instruction Set Manual, volume I, "Expanded Instruction-Length Encoding" (16 and 32 bit).
    """
    halfwords = np.frombuffer(text[: len(text) // 2 * 2], "<u2")
    is_long = ((halfwords & 3) == 3).tolist()
    starts = np.zeros(len(halfwords), np.bool_)
    entries = sorted({0, *(offset // 2 for offset in functions)})
    for begin, end in zip(entries, [*entries[1:], len(halfwords)], strict=True):
        index = begin
        while index < min(end, len(halfwords)):
            starts[index] = True
            index += 2 if is_long[index] else 1
    return starts
