"""The built-in systems as their files state them: what `lepton targets` and the manual list."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from lepton_cc.codegen.npu.systems.loader import system_names

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ListedPort:
    """A port: bytes a cycle, or `scratchpad`: as fast as the member's; latency in cycles."""

    bytes_per_cycle: float | str
    latency: int

    def __str__(self) -> str:
        rate = self.bytes_per_cycle
        text = f"as the {rate}" if isinstance(rate, str) else f"{rate:g}"
        return f"{text}, {self.latency}"


@dataclass(frozen=True, slots=True)
class ListedSystem:
    """A system, for any member of the family."""

    name: str
    description: str
    constants: ListedPort
    system: ListedPort
    shared: bool


def list_systems() -> tuple[ListedSystem, ...]:
    """All built-in systems by name."""
    return tuple(_listed(name) for name in system_names())


def _listed(name: str) -> ListedSystem:
    table = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return ListedSystem(
        name,
        table["description"],
        ListedPort(**table["constants"]),
        ListedPort(**table["system"]),
        table.get("shared", False),
    )
