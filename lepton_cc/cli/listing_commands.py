"""`lepton targets` and `lepton ops`: what can be compiled for, and from."""

import json

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import print_table


@click.command(cls=GuardedCommand)
@options.as_json
def targets(*, as_json: bool) -> None:
    """Lists the targets."""
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
                "notes": list(target.notes),
            }
            for name, target in found
        ]
        click.echo(json.dumps(rows, indent=2))
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
    for name, target in found:
        for note in target.notes:
            click.echo(f"note: {name}: {note}")


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
