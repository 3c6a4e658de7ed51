"""The two entry points. Nothing heavy is imported here: `--help` answers at once."""

from collections.abc import Mapping
from importlib import import_module

import click

import lepton_cc as package
from lepton_cc.cli.compile_command import lepton_cc as lepton_cc
from lepton_cc.cli.guard import GuardedGroup

_COMMANDS: Mapping[str, str] = {
    "run": "lepton_cc.cli.run_command",
    "inspect": "lepton_cc.cli.inspect_command",
    "verify": "lepton_cc.cli.verify_command",
    "eval": "lepton_cc.cli.eval_command",
    "blame": "lepton_cc.cli.blame_command",
    "bench": "lepton_cc.cli.bench_command",
    "compress": "lepton_cc.cli.compress_command",
    "distill": "lepton_cc.cli.distill_command",
    "opt": "lepton_cc.cli.opt_command",
    "targets": "lepton_cc.cli.listing_commands",
    "ops": "lepton_cc.cli.listing_commands",
    "doctor": "lepton_cc.cli.doctor_command",
}


class _LazyGroup(GuardedGroup):
    """Finds a command in its module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # `eval` is a name of Python's: its function has another.
        command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name.replace("eval", "evaluate"))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package.__version__, prog_name="lepton")
def lepton() -> None:
    """Runs, inspects and checks what lepton-cc compiled."""
