"""`lepton doctor`: which libraries and tool chains this machine has, and what each is for."""

import importlib.util
import json
import platform
from importlib import metadata

import click

import lepton_cc
from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import print_table

# Module, distribution, what it serves, whether nothing works without it.
_LIBRARIES = (
    ("onnx", "onnx", "reads models", True),
    ("numpy", "numpy", "holds arrays", True),
    ("llvmlite", "llvmlite", "makes machine code", True),
    ("onnxruntime", "onnxruntime", "--verify and lepton verify", False),
    ("unicorn", "unicorn", "runs images of the control core", False),
    ("elftools", "pyelftools", "reads objects and images", True),
    ("ortools", "ortools", "proves memory plans optimal", False),
    ("torch", "torch", "trains compressed models", False),
    ("ziglang", "ziglang", "links images for the control core", False),
)


@click.command(cls=GuardedCommand)
@options.as_json
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Says what is installed; fails if something is missing that nothing works without."""
    rows = [_library(*entry) for entry in _LIBRARIES]
    rows += _toolchains()
    if as_json:
        keys = ("what", "found", "for", "ok")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
    else:
        python = f"Python {platform.python_version()} on {platform.machine()}"
        print_table(
            f"lepton-cc {lepton_cc.__version__}, {python}",
            ("what", "found", "for"),
            [row[:3] for row in rows],
        )
    ctx.exit(0 if all(row[3] for row in rows) else 1)


def _library(
    module: str, distribution: str, purpose: str, needed: bool
) -> tuple[str, str, str, bool]:
    if importlib.util.find_spec(module) is None:
        return distribution, "no", purpose, not needed
    try:
        return distribution, metadata.version(distribution), purpose, True
    except metadata.PackageNotFoundError:
        return distribution, "yes", purpose, True


def _toolchains() -> list[tuple[str, str, str, bool]]:
    from lepton_cc.codegen.llvm.compile import llvm_version
    from lepton_cc.codegen.targets.loader import HOST, load_target
    from lepton_cc.ir.diagnostics import ToolchainError
    from lepton_cc.linking import find_toolchain

    try:
        found = find_toolchain().version
    except ToolchainError as error:
        found = f"no: {error.diagnostic.hint}"
    return [
        ("LLVM", llvm_version(), "makes machine code", True),
        ("tool chain for rv32imc", found, "links images for the control core", True),
        ("host level", load_target(HOST).name, "--target=host", True),
    ]
