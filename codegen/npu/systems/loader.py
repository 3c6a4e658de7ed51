"""Reading systems, and making the machine that a target's engine is."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from lepton_cc.codegen.npu.isa.family import FAMILY, Member, member
from lepton_cc.codegen.npu.machine import (
    RATE_UNIT,
    Machine,
    Port,
    Profile,
    System,
    native,
    parity,
    u55_clone,
)
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.target import Engine

_FOLDER = Path(__file__).parent
_SCRATCHPAD = "scratchpad"
_U55_MACS = (128, 256)
_MAKERS: Mapping[Profile, Callable[[int, System], Machine]] = {
    Profile.NATIVE: native,
    Profile.PARITY: parity,
    Profile.U55_CLONE: u55_clone,
}


def system_names() -> tuple[str, ...]:
    """Names of the built-in systems."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_system(name: str, chip: Member) -> System:
    """A built-in system by name, or a TOML file, around a member of the family.

    Raises:
        Refused: there is no such system, or the file does not describe one.
    """
    is_file = name.endswith(".toml")
    if not is_file and name not in system_names():
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"there is no system {name!r}",
            hint=f"choose one of {', '.join(system_names())}, or give a .toml file",
        )
    path = Path(name) if is_file else _FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return System(
            path.stem,
            str(table["description"]),
            _port(table["constants"], chip),
            _port(table["system"], chip),
            shared=bool(table.get("shared", False)),
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"cannot read system {name!r}: {error}",
            hint=f"choose one of {', '.join(system_names())}, or give a .toml file",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"system {name!r}: {error!r}",
            hint="it needs description, and constants and system with bytes_per_cycle and latency",
        ) from error


def _port(table: Mapping[str, object], chip: Member) -> Port:
    given = table["bytes_per_cycle"]
    if given == _SCRATCHPAD:
        rate = chip.spm_bytes_per_cycle * RATE_UNIT
    elif isinstance(given, int | float) and given * RATE_UNIT >= 1:
        rate = int(given * RATE_UNIT)
    else:
        raise ValueError(f"bytes_per_cycle is {given!r}")
    latency = table["latency"]
    if not isinstance(latency, int) or latency < 0:
        raise ValueError(f"latency is {latency!r}")
    return Port(rate, latency)


def machine_of(engine: Engine) -> Machine:
    """The machine of a target's engine.

    Raises:
        Refused: no member has so many MACs, there is no such profile of it, or the system cannot
            be read.
    """
    try:
        chip = member(engine.macs)
    except KeyError:
        known = ", ".join(str(m.macs) for m in FAMILY)
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"there is no lepton-npu of {engine.macs} MACs a cycle",
            hint=f"choose one of {known}",
        ) from None
    profile = _profile(engine)
    machine = _MAKERS[profile](engine.macs, load_system(engine.system, chip))
    return machine if engine.spm_bytes is None else machine.with_spm(engine.spm_bytes)


def _profile(engine: Engine) -> Profile:
    known = [profile.value for profile in Profile]
    if engine.profile not in known:
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"there is no machine {engine.profile!r}",
            hint=f"choose one of {', '.join(known)}",
        )
    if engine.profile == Profile.U55_CLONE and engine.macs not in _U55_MACS:
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            f"Ethos-U55 is modelled with {' or '.join(map(str, _U55_MACS))} MACs a cycle, "
            f"not {engine.macs}",
            hint="choose the target lepton-npu-128 or lepton-npu-256",
        )
    return Profile(engine.profile)
