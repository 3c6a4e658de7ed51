"""Memory plans: where each buffer lies, how good that is, and the JSON that reports it.

The last product of planning: codegen reads the offsets, `lepton inspect` draws the JSON, and the
tests' checker verifies it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Self

from lepton_cc.passes.memory.problem import Buffer, InPlace

FORMAT_VERSION = 1


class AliasKind(Enum):
    """Why a buffer shares bytes with another that lives at the same time."""

    VIEW = "view"
    IN_PLACE = "in-place"
    OVERLAP = "overlap"
    """The step that writes the buffer must run upwards."""
    OVERLAP_DOWNWARDS = "overlap-downwards"
    """The step that writes the buffer must run downwards."""


class PlanMethod(Enum):
    """What found the offsets."""

    HEURISTIC = "heuristic"
    HILL_CLIMB = "hill-climb"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Alias:
    """The buffer whose bytes are shared: a view's whole, or the input that an output overwrites."""

    kind: AliasKind
    of: str


@dataclass(frozen=True, slots=True)
class Placement:
    """A buffer at `offset` bytes from the arena's start."""

    buffer: Buffer
    offset: int
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A legal placement of every buffer of a problem, in the problem's order.

    `arena_bytes` and `lower_bound_bytes` are multiples of the strictest alignment. The bound is the
    most bytes live at one step, which is `peak_step` (the first such); no plan can go below it.
    `proven_optimal` says that no plan with a smaller arena exists: the bound is reached, or the
    exact solver finished.
    """

    placements: tuple[Placement, ...]
    arena_bytes: int
    lower_bound_bytes: int
    peak_step: int
    applied_in_place: tuple[InPlace, ...]
    method: PlanMethod
    proven_optimal: bool

    @property
    def gap_bytes(self) -> int:
        """Bytes of the arena above the lower bound."""
        return self.arena_bytes - self.lower_bound_bytes

    @property
    def offsets(self) -> Mapping[str, int]:
        """Offset of each buffer in bytes, in the problem's order."""
        return MappingProxyType({p.buffer.name: p.offset for p in self.placements})

    @property
    def peak_buffers(self) -> tuple[Buffer, ...]:
        """The buffers that live at the peak step, from biggest to smallest."""
        buffers = (placement.buffer for placement in self.placements)
        live = [b for b in buffers if b.first_step <= self.peak_step <= b.last_step]
        return tuple(sorted(live, key=lambda b: (-b.size_bytes, b.name)))

    def to_json(self) -> str:
        """Write the plan as JSON with a fixed order of keys; ends with a newline."""
        document = {
            "version": FORMAT_VERSION,
            "arena_bytes": self.arena_bytes,
            "lower_bound_bytes": self.lower_bound_bytes,
            "gap_bytes": self.gap_bytes,
            "method": self.method.value,
            "proven_optimal": self.proven_optimal,
            "peak": {
                "step": self.peak_step,
                "buffers": [
                    {"name": b.name, "size_bytes": b.size_bytes} for b in self.peak_buffers
                ],
            },
            "in_place": [
                {"step": g.step, "output": g.output, "input": g.input}
                for g in self.applied_in_place
            ],
            "buffers": [_placement_fields(placement) for placement in self.placements],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is not a plan of this version.
        """
        try:
            document = json.loads(text)
            if document["version"] != FORMAT_VERSION:
                raise ValueError(f"memory plan: version {document['version']} is not known")
            return cls(
                placements=tuple(_placement(fields) for fields in document["buffers"]),
                arena_bytes=document["arena_bytes"],
                lower_bound_bytes=document["lower_bound_bytes"],
                peak_step=document["peak"]["step"],
                applied_in_place=tuple(
                    InPlace(g["step"], g["output"], g["input"]) for g in document["in_place"]
                ),
                method=PlanMethod(document["method"]),
                proven_optimal=document["proven_optimal"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"memory plan: malformed JSON document: {error!r}") from error


def _placement_fields(placement: Placement) -> dict[str, object]:
    buffer = placement.buffer
    return {
        "name": buffer.name,
        "offset": placement.offset,
        "size_bytes": buffer.size_bytes,
        "alignment": buffer.alignment,
        "first_step": buffer.first_step,
        "last_step": buffer.last_step,
        "aliases": [{"kind": a.kind.value, "of": a.of} for a in placement.aliases],
    }


def _placement(fields: Mapping[str, Any]) -> Placement:
    buffer = Buffer(
        name=fields["name"],
        size_bytes=fields["size_bytes"],
        first_step=fields["first_step"],
        last_step=fields["last_step"],
        alignment=fields["alignment"],
    )
    aliases = tuple(Alias(AliasKind(a["kind"]), a["of"]) for a in fields["aliases"])
    return Placement(buffer, fields["offset"], aliases)
