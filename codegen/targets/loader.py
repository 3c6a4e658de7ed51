"""Reading targets: the built-in TOML files by name, or a file of the user's."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path

from lepton_cc.codegen.llvm.compile import host_features
from lepton_cc.codegen.llvm.matrix_unit import is_permitted
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.target import DotProduct, Engine, Execution, MemoryRegion, Target

_FOLDER = Path(__file__).parent
HOST = "host"
# What LLVM's x86-64 levels need beyond SSE2, in the names of its host query.
_CPU_FEATURES: Mapping[str, frozenset[str]] = {
    "x86-64": frozenset(),
    "x86-64-v3": frozenset({"avx2", "fma", "bmi2", "f16c"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}),
}
# The best comes first: `host` is the first whose features the machine has.
_HOST_TARGETS = (
    "x86-64-v4-amx",
    "x86-64-v4-vnni",
    "x86-64-v4",
    "x86-64-v3-vnni",
    "x86-64-v3",
    "x86-64",
)


def target_names() -> tuple[str, ...]:
    """Names of the built-in targets, and `host`."""
    return (HOST, *sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_target(name: str) -> Target:
    """A built-in target by name, `host` (the best x86-64 level of this machine), or a TOML file.

    Raises:
        Refused: there is no such target, or the file does not describe one.
    """
    if name == HOST:
        candidates = (_read(_FOLDER / f"{known}.toml") for known in _HOST_TARGETS)
        return next(target for target in candidates if runs_on_this_machine(target))
    if name.endswith(".toml"):
        return _read(Path(name))
    path = _FOLDER / f"{name}.toml"
    if path.parent != _FOLDER or not path.is_file():
        known = ", ".join(target_names())
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"there is no target {name!r}",
            hint=f"choose one of {known}, or give a .toml file",
        )
    return _read(path)


@functools.cache
def runs_on_this_machine(target: Target) -> bool:
    """True if native code for the target runs in this process."""
    if target.execution is not Execution.NATIVE or target.cpu not in _CPU_FEATURES:
        return False
    extra = {word[1:] for word in target.features.split(",") if word.startswith("+")}
    if not _CPU_FEATURES[target.cpu] | extra <= host_features():
        return False
    return target.matrix_registers == 0 or is_permitted()


def _read(path: Path) -> Target:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise refuse(Code.TARGET_UNSUPPORTED, f"cannot read target {path}: {error}") from error
    return _target(path.stem, table, path)


def _target(name: str, table: Mapping[str, object], path: Path) -> Target:
    values = dict(table)
    values["name"] = name
    values.setdefault("abi", "")
    known = {field.name for field in fields(Target)}
    required = {field.name for field in fields(Target) if field.default is MISSING}
    unknown, missing = sorted(set(values) - known), sorted(required - set(values))
    if unknown or missing:
        parts = [f"unknown keys {unknown}"] if unknown else []
        parts += [f"missing keys {missing}"] if missing else []
        raise refuse(Code.TARGET_UNSUPPORTED, f"target {path}: {'; '.join(parts)}")
    regions = values.get("regions", {})
    try:
        values["execution"] = Execution(values["execution"])
        values["dot_product"] = DotProduct(values.get("dot_product", "none"))
        if not isinstance(regions, dict):
            raise ValueError("regions is not a table")
        values["regions"] = tuple(MemoryRegion(key, int(size)) for key, size in regions.items())
        values["notes"] = tuple(map(str, _list(values.get("notes", []))))
        values["aliases"] = tuple(map(str, _list(values.get("aliases", []))))
        values["engine"] = _engine(values.get("engine"))
        return Target(**values)  # type: ignore[arg-type]  # keys were checked; values come next
    except (TypeError, ValueError) as error:
        raise refuse(Code.TARGET_UNSUPPORTED, f"target {path}: {error}") from error


def _engine(value: object) -> Engine | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("engine is not a table")
    return Engine(**value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("expected a list")
    return value
