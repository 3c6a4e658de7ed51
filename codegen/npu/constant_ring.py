"""The weight buffer as a ring: constants take turns in it, in the order of their use."""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.regions import Address
from lepton_cc.codegen.npu.tasks import Blob

ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class BlobLoad:
    """A constant that may be loaded before task number `before` and must be by `first_use`."""

    blob: Blob
    before: int
    first_use: int
    address: Address


class ConstantRing:
    """Memory that is filled in a circle."""

    def __init__(self, base: Address, size_bytes: int) -> None:
        self._base = base
        self._size = size_bytes
        self._head = 0
        self._held: list[tuple[int, int, int]] = []  # offset, end, last use
        self.used_bytes = 0

    def earliest(self, blob: Blob, first_use: int) -> int | None:
        """The first task before which the constant may be loaded; None if it finds no place."""
        place = self._place(blob, first_use)
        return None if place is None else place[1]

    def add(self, blob: Blob, first_use: int, last_use: int) -> BlobLoad | None:
        """A place for the next constant; None if all that it would overwrite is still needed."""
        place = self._place(blob, first_use)
        if place is None:
            return None
        start, before = place
        end = start + aligned(len(blob.content))
        # What is covered in part still guards the rest of its bytes.
        rest = [
            (low, high, last)
            for first, stop, last in self._held
            for low, high in ((first, min(stop, start)), (max(first, end), stop))
            if low < high
        ]
        self._held = [*rest, (start, end, last_use)]
        self._head = end
        self.used_bytes = max(self.used_bytes, end)
        return BlobLoad(blob, before, first_use, self._base.plus(start))

    def _place(self, blob: Blob, first_use: int) -> tuple[int, int] | None:
        size = aligned(len(blob.content))
        start = _start(self._head, self._held, size, first_use, self._size)
        if start is None:
            return None
        end = start + size
        overwritten = [last for low, high, last in self._held if low < end and start < high]
        return start, max(overwritten, default=-1) + 1


def _start(
    head: int, held: Sequence[tuple[int, int, int]], size_bytes: int, first_use: int, limit: int
) -> int | None:
    """Where in a ring of `limit` bytes the next constant lies: behind the last one, or in front."""
    for start in (head, 0):
        end = start + size_bytes
        if end <= limit:
            for low, high, last in held:
                if last >= first_use and low < end and start < high:
                    break
            else:
                return start
    return None


def aligned(size_bytes: int) -> int:
    """The size in whole units of alignment."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Use:
    """A constant of `size_bytes`, aligned, that tasks `first` to `last` read."""

    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a ring stands: its head, and (offset, end, last use) of what is still needed."""

    head: int = 0
    needed: tuple[tuple[int, int, int], ...] = ()


def refused(uses: Sequence[Use], turn: Turn, size_bytes: int) -> tuple[list[int], Turn]:
    """The indices of the constants that a ring of so many bytes would not take, and its turn then.

    Those that a `ConstantRing` refuses if they are added one by one, in the order of their first
    uses. What is not needed any more is forgotten: it only says when to load.
    """
    head, needed = turn.head, list(turn.needed)
    missing: list[int] = []
    for index, use in enumerate(uses):
        needed = [held for held in needed if held[2] >= use.first]
        start = _start(head, needed, use.size_bytes, use.first, size_bytes)
        if start is None:
            missing.append(index)
        else:
            head = start + use.size_bytes
            needed.append((start, head, use.last))
    return missing, Turn(head, tuple(needed))
