"""`lepton targets` and `lepton ops`: what can be compiled for, and from."""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.ir.target import Target


@click.command(cls=GuardedCommand)
@options.as_json
def targets(*, as_json: bool) -> None:
    """Lists the targets, and the systems that a tensor engine may be in."""
    from lepton_cc.codegen.npu.systems.listing import list_systems
    from lepton_cc.codegen.targets.loader import HOST, load_target, target_names

    found = [(name, load_target(name)) for name in target_names()]
    if as_json:
        rows = [
            {
                "name": name,
                "level": target.name,
                "description": target.description,
                "execution": target.execution.value,
                "regions": {region.name: region.size_bytes for region in target.regions},
                "engine": _engine_fields(target),
                "notes": list(target.notes),
            }
            for name, target in found
        ]
        systems = [dataclasses.asdict(system) for system in list_systems()]
        click.echo(json.dumps({"targets": rows, "systems": systems}, indent=2))
        return
    print_table(
        "targets",
        ("name", "what", "runs here", "memories"),
        [
            (
                name,
                f"this machine: {target.name}" if name == HOST else target.description,
                target.execution.value,
                ", ".join(f"{r.name} {r.size_bytes >> 10} KiB" for r in target.regions),
            )
            for name, target in found
        ],
    )
    _print_engines([target for _, target in found])
    for name, target in found:
        for note in target.notes:
            click.echo(f"note: {name}: {note}")


def _engine_fields(target: "Target") -> dict[str, object] | None:
    """The tensor engine of a target: its member of the family, and the system unless chosen."""
    from lepton_cc.codegen.npu.isa.family import member

    if target.engine is None:
        return None
    chip = member(target.engine.macs)
    return {
        "member": chip.name,
        "macs": chip.macs,
        "spm_bytes": chip.spm_bytes,
        "wbuf_bytes": chip.wbuf_bytes,
        "system": target.engine.system,
    }


def _print_engines(targets: "Sequence[Target]") -> None:
    from lepton_cc.codegen.npu.isa.family import member
    from lepton_cc.codegen.npu.systems.listing import list_systems

    chips = [(target, member(target.engine.macs)) for target in targets if target.engine]
    click.echo()
    print_table(
        "tensor engines",
        ("target", "MACs a cycle", "scratchpad", "a cycle", "weight buffer", "system"),
        [
            (
                target.name,
                chip.macs,
                f"{chip.spm_bytes >> 10} KiB",
                f"{chip.spm_bytes_per_cycle} bytes",
                f"{chip.wbuf_bytes >> 10} KiB",
                target.engine.system if target.engine else "",
            )
            for target, chip in chips
        ],
    )
    click.echo()
    print_table(
        "systems around a tensor engine, for --system (bytes a cycle, latency)",
        ("name", "constants", "system memory", "what"),
        [
            (system.name, str(system.constants), str(system.system), system.description)
            for system in list_systems()
        ],
    )


@click.command(cls=GuardedCommand)
@options.as_json
def ops(*, as_json: bool) -> None:
    """Lists the ONNX operators that are read, and since which version of each."""
    from lepton_cc.frontend.operators import REGISTRY

    versions: dict[tuple[str, str], list[int]] = {}
    for operator in REGISTRY.operators():
        key = (operator.domain or "ai.onnx", operator.op_type)
        versions.setdefault(key, []).append(operator.since_version)
    if as_json:
        rows = [
            {"domain": domain, "op_type": name, "since_versions": since}
            for (domain, name), since in sorted(versions.items())
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    print_table(
        f"{len(versions)} operators; others are tried by the function body that ONNX defines",
        ("domain", "operator", "since versions"),
        [
            (domain, name, ", ".join(map(str, since)))
            for (domain, name), since in sorted(versions.items())
        ],
    )
