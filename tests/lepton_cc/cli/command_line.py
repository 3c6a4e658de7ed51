"""Runs the command line in this process, for the tests of it."""

from pathlib import Path

from click.testing import CliRunner, Result

from lepton_cc.cli.main import lepton, lepton_cc


def compile_(*arguments: str | Path) -> Result:
    """`lepton-cc ARGUMENTS`."""
    return CliRunner().invoke(lepton_cc, [str(argument) for argument in arguments])


def tool(*arguments: str | Path) -> Result:
    """`lepton ARGUMENTS`."""
    return CliRunner().invoke(lepton, [str(argument) for argument in arguments])
