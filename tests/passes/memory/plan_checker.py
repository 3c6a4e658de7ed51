"""Checks a memory plan's JSON against its problem, and shares no code with the planner.

It believes nothing that the plan says about itself: every pair of buffers is looked at, and bytes
that both hold at some step need a relation in the problem that allows it.
"""

import json
from dataclasses import dataclass
from typing import Any

from lepton_cc.passes.memory import Buffer, MemoryProblem


@dataclass(frozen=True, slots=True)
class Claim:
    """Bytes [start, stop) that `owner` holds over [first, last]; a bridge holds no value."""

    owner: str
    start: int
    stop: int
    first: int
    last: int
    is_bridge: bool = False


def plan_faults(problem: MemoryProblem, text: str) -> list[str]:
    """Give everything that is wrong with the plan in `text`; nothing for a legal plan."""
    plan = json.loads(text)
    faults = _table_faults(problem, plan)
    if faults:
        return faults
    offsets = {row["name"]: row["offset"] for row in plan["buffers"]}
    faults += address_faults(problem, offsets)
    faults += _figure_faults(problem, plan, offsets)
    faults += _peak_faults(problem, plan)
    faults += _in_place_faults(problem, plan, offsets)
    return faults


def address_faults(problem: MemoryProblem, offsets: dict[str, int]) -> list[str]:
    """Give what is wrong with the offsets alone: alignment, views, and clashes."""
    faults = []
    for buffer in problem.buffers:
        if offsets[buffer.name] < 0 or offsets[buffer.name] % buffer.alignment:
            faults.append(f"{buffer.name} lies at {offsets[buffer.name]}")
    for view in problem.views:
        if offsets[view.buffer] != offsets[view.of] + view.offset_bytes:
            faults.append(f"{view.buffer} is not at its place in {view.of}")
    claims = _claims(problem, offsets)
    families = _families(problem)
    for number, lhs in enumerate(claims):
        for rhs in claims[:number]:
            clash = _clash(lhs, rhs) and families[lhs.owner] != families[rhs.owner]
            if clash and not _is_allowed(problem, lhs, rhs) and not _is_allowed(problem, rhs, lhs):
                faults.append(f"{lhs} clashes with {rhs}")
    return faults


def _claims(problem: MemoryProblem, offsets: dict[str, int]) -> list[Claim]:
    buffers = {buffer.name: buffer for buffer in problem.buffers}
    claims = []
    for b in problem.buffers:
        start = offsets[b.name]
        claims.append(Claim(b.name, start, start + b.size_bytes, b.first_step, b.last_step))
    for view in problem.views:
        part, whole = buffers[view.buffer], buffers[view.of]
        early, late = sorted((part, whole), key=lambda b: b.first_step)
        first, last = early.last_step + 1, late.first_step - 1
        if first <= last:
            start = offsets[part.name]
            stop = start + part.size_bytes
            claims.append(Claim(part.name, start, stop, first, last, is_bridge=True))
    return [claim for claim in claims if claim.start < claim.stop]


def _families(problem: MemoryProblem) -> dict[str, str]:
    wholes = {view.buffer: view.of for view in problem.views}
    families = {}
    for buffer in problem.buffers:
        name = buffer.name
        while name in wholes:
            name = wholes[name]
        families[buffer.name] = name
    return families


def _clash(lhs: Claim, rhs: Claim) -> bool:
    in_time = lhs.first <= rhs.last and rhs.first <= lhs.last
    return in_time and lhs.start < rhs.stop and rhs.start < lhs.stop


def _is_allowed(problem: MemoryProblem, output: Claim, source: Claim) -> bool:
    """Tell whether `output` may hold bytes of `source`, which must die where `output` begins."""
    if output.is_bridge or source.is_bridge or output.first != source.last:
        return False
    for grant in problem.in_place:
        same = (grant.output, grant.input, grant.step) == (output.owner, source.owner, output.first)
        if same and output.start == source.start and output.stop <= source.stop:
            return True
    return any(
        (overlap.output, overlap.input) == (output.owner, source.owner)
        and (
            source.stop <= output.start + overlap.bytes
            if overlap.direction.value == "downwards"
            else output.stop <= source.start + overlap.bytes
        )
        for overlap in problem.overlaps
    )


def _table_faults(problem: MemoryProblem, plan: dict[str, Any]) -> list[str]:
    fields = ("name", "size_bytes", "alignment", "first_step", "last_step")
    listed = [tuple(row[field] for field in fields) for row in plan["buffers"]]
    asked = [tuple(getattr(buffer, field) for field in fields) for buffer in problem.buffers]
    return [] if listed == asked else ["the plan lists other buffers than the problem"]


def _figure_faults(
    problem: MemoryProblem, plan: dict[str, Any], offsets: dict[str, int]
) -> list[str]:
    faults = []
    held = [b for b in problem.buffers if b.size_bytes]
    end = max((offsets[b.name] + b.size_bytes for b in held), default=0)
    unit = max((b.alignment for b in problem.buffers), default=1)
    if not end <= plan["arena_bytes"] < end + unit:
        faults.append(f"the arena has {plan['arena_bytes']} bytes, its buffers end at {end}")
    if plan["gap_bytes"] != plan["arena_bytes"] - plan["lower_bound_bytes"]:
        faults.append("the gap is not arena minus bound")
    if plan["gap_bytes"] < 0:
        faults.append("the arena is below its lower bound")
    if plan["gap_bytes"] == 0 and not plan["proven_optimal"]:
        faults.append("the bound is reached, which proves the optimum")
    return faults


def _peak_faults(problem: MemoryProblem, plan: dict[str, Any]) -> list[str]:
    faults = []
    peak_step = plan["peak"]["step"]
    live = [b for b in problem.buffers if b.first_step <= peak_step <= b.last_step]
    rows = sorted((-b.size_bytes, b.name) for b in live)
    if plan["peak"]["buffers"] != [{"name": name, "size_bytes": -size} for size, name in rows]:
        faults.append("the peak lists other buffers than those that live at it")
    units = {b.alignment for b in problem.buffers}
    if len(units) == 1 and not (problem.views or problem.in_place or problem.overlaps):
        unit = units.pop()
        most = max(_load_at(problem.buffers, b.first_step, unit) for b in problem.buffers)
        if _load_at(problem.buffers, peak_step, unit) != most:
            faults.append("more bytes are live at another step than at the peak")
        if plan["lower_bound_bytes"] != most:
            faults.append(f"the lower bound is not {most}, the most bytes live at one step")
    return faults


def _load_at(buffers: tuple[Buffer, ...], step: int, unit: int) -> int:
    live = (b for b in buffers if b.first_step <= step <= b.last_step)
    return sum(-(-b.size_bytes // unit) * unit for b in live)


def _in_place_faults(
    problem: MemoryProblem, plan: dict[str, Any], offsets: dict[str, int]
) -> list[str]:
    granted = [{"step": g.step, "output": g.output, "input": g.input} for g in problem.in_place]
    faults = [f"{row} was never permitted" for row in plan["in_place"] if row not in granted]
    for row in plan["in_place"]:
        if offsets[row["output"]] != offsets[row["input"]]:
            faults.append(f"{row} is not at one offset")
    for entry in plan["buffers"]:
        listed = {(a["kind"], a["of"]) for a in entry["aliases"]}
        wanted = {("view", v.of) for v in problem.views if v.buffer == entry["name"]}
        wanted |= {
            ("in-place", r["input"]) for r in plan["in_place"] if r["output"] == entry["name"]
        }
        if {pair for pair in listed if not pair[0].startswith("overlap")} != wanted:
            faults.append(f"the aliases of {entry['name']} are not those of the plan")
    return faults
