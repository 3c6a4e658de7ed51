"""Checks a program's use of memory from its calls alone; believes no live range of the plan.

Every arena argument of a call must be a buffer of the plan, alive at that call; what a call reads,
an earlier call wrote and none overwrote; what it writes, nothing else that it touches overlaps,
but for a storage that the kernel declares as shared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lepton_cc.codegen.program import Call, KernelFunction, Program, Role
from lepton_cc.passes.memory import MemoryProblem
from tests.passes.memory.plan_checker import plan_faults


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes [start, stop) of the arena that a call hands a kernel as one parameter."""

    parameter: str
    start: int
    stop: int
    is_written: bool

    def overlaps(self, other: "Region") -> bool:
        """True if they share a byte."""
        return self.start < other.stop and other.start < self.stop


def program_faults(program: Program) -> list[str]:
    """Everything that is wrong with the places of a program's calls and with its plan."""
    plan = program.plan
    problem = MemoryProblem(
        buffers=tuple(placement.buffer for placement in plan.placements),
        in_place=plan.applied_in_place,
    )
    functions = program.kernels_by_name()
    faults = plan_faults(problem, plan.to_json())
    written: dict[int, int] = {}
    for number, call in enumerate(program.calls):
        function = functions[call.kernel]
        regions = tuple(arena_regions(call, function))
        faults += _place_faults(program, number, regions)
        faults += _clash_faults(number, regions, function)
        faults += _content_faults(number, regions, written)
        for region in regions:
            if region.is_written:
                written |= dict.fromkeys(range(region.start, region.stop), number)
    return faults


def arena_regions(call: Call, function: KernelFunction) -> Iterator[Region]:
    """The call's arguments in the arena, empty ones left out."""
    for place, buffer in zip(call.arguments, function.kernel.parameters, strict=True):
        size = buffer.size * buffer.dtype.size_bytes
        if place.role is Role.ARENA and size:
            stop = place.position + size
            yield Region(buffer.name, place.position, stop, buffer.written)


def _place_faults(program: Program, number: int, regions: tuple[Region, ...]) -> list[str]:
    faults = []
    for region in regions:
        holders = [
            placement
            for placement in program.plan.placements
            if placement.offset <= region.start
            and region.stop <= placement.offset + placement.buffer.size_bytes
            and placement.buffer.first_step <= number <= placement.buffer.last_step
        ]
        if not holders:
            faults.append(f"call {number}: no live buffer of the plan holds {region}")
        if region.stop > program.arena_bytes:
            faults.append(f"call {number}: {region} ends behind the arena")
    return faults


def _clash_faults(number: int, regions: tuple[Region, ...], function: KernelFunction) -> list[str]:
    faults = []
    for index, first in enumerate(regions):
        for second in regions[:index]:
            shared = first.parameter in function.aliased and second.parameter in function.aliased
            at_one_place = shared and first.start == second.start
            writes = first.is_written or second.is_written
            if writes and first.overlaps(second) and not at_one_place:
                faults.append(f"call {number}: {first} overlaps {second}")
    return faults


def _content_faults(number: int, regions: tuple[Region, ...], written: dict[int, int]) -> list[str]:
    """What is read must have been written, and by one call where it is one call's result."""
    faults = []
    for region in regions:
        if region.is_written:
            continue
        writers = {written.get(byte) for byte in range(region.start, region.stop)}
        if None in writers:
            faults.append(f"call {number}: {region} reads what no call wrote")
        elif len(writers) > 1:
            faults.append(f"call {number}: {region} reads the remains of calls {writers}")
    return faults
