"""What the memory planner is asked: buffers, their live ranges, and what may share storage.

The planner stands between a list of steps and the arena that they run in. It sees neither graph nor
kernel, so the graph, the program and the npu's scratchpad all put the same question to it.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Buffer:
    """`size_bytes` bytes that hold a value from `first_step` to `last_step`, both inclusive.

    `alignment` is a power of two in bytes. Two buffers whose live ranges share a step must not
    share bytes, unless a relation of the problem allows it.
    """

    name: str
    size_bytes: int
    first_step: int
    last_step: int
    alignment: int = 16


@dataclass(frozen=True, slots=True)
class View:
    """An alias that must hold: `buffer` is the bytes of `of` from `offset_bytes` on.

    A reshape, a slice of the outermost axis, a part of a concatenation. When the live ranges do not
    touch, the shared bytes are kept from the end of the earlier to the start of the later.
    """

    buffer: str
    of: str
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True)
class InPlace:
    """A permission: at `step`, `output` may begin at the very offset of `input`.

    It can be used when `output` begins to live and `input` ends to live at `step`, and `output` is
    not larger than `input`. A permission that cannot be used is not an error.
    """

    step: int
    output: str
    input: str


class Direction(Enum):
    """The way in which a step goes through its input and its output."""

    UPWARDS = "upwards"
    DOWNWARDS = "downwards"


@dataclass(frozen=True, slots=True)
class Overlap:
    """A permission for diagonal overlap of an output with the input that dies where it begins.

    The step reads `input` and writes `output` from the first byte upwards, and reading runs so far
    ahead that both may live when `offset(output) + size(output) <= offset(input) + bytes`: the end
    of the output may reach at most `bytes` bytes into the input. Let `lag` be the largest value,
    over the step, of the end of what is written (counted from the output's start) minus the first
    byte still to be read (counted from the input's start); then `bytes = size(output) - lag`
    (Blacker et al. 2020, arXiv 2010.01668). Any lower offset of the output is legal too.

    A step that can also run downwards, from the last byte to the first, has a second permission,
    the mirror image: `offset(input) + size(input) <= offset(output) + bytes`.
    """

    output: str
    input: str
    bytes: int
    direction: Direction = Direction.UPWARDS


@dataclass(frozen=True, slots=True)
class MemoryProblem:
    """Buffers to place in one arena, and the relations between them.

    Raises:
        ValueError: a name is unknown or taken twice, a number is out of range, a view leaves its
            buffer, breaks its alignment or is part of a circle.
    """

    buffers: tuple[Buffer, ...]
    views: tuple[View, ...] = ()
    in_place: tuple[InPlace, ...] = ()
    overlaps: tuple[Overlap, ...] = ()

    def __post_init__(self) -> None:
        faults = [*_buffer_faults(self.buffers), *_name_faults(self)]
        if not faults:
            faults = _view_faults(self)
        if faults:
            raise ValueError("memory problem: " + "; ".join(faults))


def root_offsets(problem: MemoryProblem) -> dict[str, tuple[str, int]]:
    """Give for each buffer the buffer that it finally is a view of, and its offset there in bytes.

    Raises:
        ValueError: views form a circle.
    """
    parents = {view.buffer: view for view in problem.views}
    roots: dict[str, tuple[str, int]] = {}
    for buffer in problem.buffers:
        name, offset, hops = buffer.name, 0, 0
        while name in parents:
            offset += parents[name].offset_bytes
            name = parents[name].of
            hops += 1
            if hops > len(parents):
                raise ValueError(f"memory problem: the views of {buffer.name!r} form a circle")
        roots[buffer.name] = (name, offset)
    return roots


def _buffer_faults(buffers: tuple[Buffer, ...]) -> list[str]:
    faults = [f"{name!r} is there {count} times" for name, count in _repeated(buffers)]
    for buffer in buffers:
        if buffer.size_bytes < 0:
            faults.append(f"{buffer.name!r} has a negative size")
        if buffer.alignment < 1 or buffer.alignment & (buffer.alignment - 1):
            faults.append(f"{buffer.name!r}: alignment {buffer.alignment} is no power of two")
        if not 0 <= buffer.first_step <= buffer.last_step:
            faults.append(f"{buffer.name!r} lives from {buffer.first_step} to {buffer.last_step}")
    return faults


def _repeated(buffers: tuple[Buffer, ...]) -> list[tuple[str, int]]:
    counts = Counter(buffer.name for buffer in buffers)
    return [(name, count) for name, count in counts.items() if count > 1]


def _name_faults(problem: MemoryProblem) -> list[str]:
    known = {buffer.name for buffer in problem.buffers}
    pairs = [(view.buffer, view.of) for view in problem.views]
    relations: tuple[InPlace | Overlap, ...] = (*problem.in_place, *problem.overlaps)
    pairs += [(relation.output, relation.input) for relation in relations]
    faults = [f"{name!r} is not a buffer" for pair in pairs for name in pair if name not in known]
    faults += [f"{lhs!r} is related to itself" for lhs, rhs in pairs if lhs == rhs]
    counts = Counter(view.buffer for view in problem.views)
    faults += [f"{name!r} is a view of {n} buffers" for name, n in counts.items() if n > 1]
    faults += [f"overlap of {o.output!r} is negative" for o in problem.overlaps if o.bytes < 0]
    return faults


def _view_faults(problem: MemoryProblem) -> list[str]:
    buffers = {buffer.name: buffer for buffer in problem.buffers}
    faults = []
    for view in problem.views:
        end = view.offset_bytes + buffers[view.buffer].size_bytes
        if view.offset_bytes < 0 or end > buffers[view.of].size_bytes:
            faults.append(f"view {view.buffer!r} leaves {view.of!r}")
    for name, (root, offset) in root_offsets(problem).items():
        if offset % buffers[name].alignment:
            faults.append(f"view {name!r} at {root!r} + {offset} breaks its own alignment")
    return faults
