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
        for start in (self._head, 0):
            end = start + size
            if end > self._size:
                continue
            overwritten = [last for low, high, last in self._held if low < end and start < high]
            before = max(overwritten, default=-1) + 1
            if before <= first_use:
                return start, before
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

    The same as adding them to a `ConstantRing` one by one, in the order of their first uses.
    """
    head, needed = turn.head, list(turn.needed)
    missing: list[int] = []
    for index, use in enumerate(uses):
        needed = [held for held in needed if held[2] >= use.first]
        for start in (head, 0):
            end = start + use.size_bytes
            if end <= size_bytes and not any(low < end and start < high for low, high, _ in needed):
                needed.append((start, end, use.last))
                head = end
                break
        else:
            missing.append(index)
    return missing, Turn(head, tuple(needed))
