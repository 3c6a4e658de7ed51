"""How a command ends: errors on stderr, the exit code, and a reproducer for a bug of ours."""

import platform
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import lepton_cc

if TYPE_CHECKING:
    from lepton_cc.ir.graph import Graph
    from lepton_cc.passes.manager import PassRecord

BUG_EXIT_CODE = 70
_TRACEBACK_VERBOSITY = 2


@dataclass
class Session:
    """What a running command leaves for the case that it fails; an observer of the passes, too."""

    verbosity: int = 0
    last_graph: "Graph | None" = None

    def __call__(self, record: "PassRecord", graph: "Graph") -> None:
        """Remembers the graph after a pass."""
        self.last_graph = graph


class _Guarded(click.Command):
    """Turns exceptions into messages and exit codes; never lets a traceback out, but for -vv."""

    def invoke(self, ctx: click.Context) -> object:
        session = ctx.ensure_object(Session)
        try:
            with _unwinding_on_termination():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            ctx.exit(_report(error, session))


class GuardedCommand(_Guarded):
    """A command that ends well."""


class GuardedGroup(_Guarded, click.Group):
    """A group whose commands end well."""


@contextmanager
def _unwinding_on_termination() -> Iterator[None]:
    """Lets SIGTERM unwind, so that temporary files go; its default action would leave them."""

    def exit_(_signal: int, _frame: object) -> None:
        sys.exit(1)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, exit_)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(error: Exception, session: Session) -> int:
    # Here and not above: these imports cost more than all of `--help`.
    from lepton_cc.ir.diagnostics import Code, Diagnostic, LeptonError, UsageError

    if isinstance(error, UsageError):
        raise click.UsageError(str(error)) from error
    if isinstance(error, LeptonError) and error.exit_code != BUG_EXIT_CODE:
        click.echo(str(error), err=True)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return 1
    if isinstance(error, OSError) and error.filename is not None:
        failure = f"{error.filename}: {error.strerror}"
        click.echo(str(Diagnostic(Code.OUTPUT_FAILED, failure)), err=True)
        return 1
    first = str(error).splitlines()[0] if str(error) else "no message"
    click.echo(f"internal error: {type(error).__name__}: {first}", err=True)
    click.echo(f"This is a bug in lepton-cc. {_reproducer(error, session)}", err=True)
    if session.verbosity >= _TRACEBACK_VERBOSITY:
        traceback.print_exception(error)
    return BUG_EXIT_CODE


def _reproducer(error: Exception, session: Session) -> str:
    """Writes what we need to see the bug, and says where."""
    from lepton_cc.ir.lir_file import write_lir

    try:
        folder = Path(tempfile.mkdtemp(prefix="lepton-cc-bug-"))
        lines = [
            f"lepton-cc {lepton_cc.__version__}, Python {platform.python_version()}",
            f"arguments: {sys.argv[1:]}",
            "",
            *traceback.format_exception(error),
        ]
        (folder / "report.txt").write_text("\n".join(lines), encoding="utf-8")
        if session.last_graph is not None:
            write_lir(session.last_graph, folder / "last.lir")
    except Exception as failure:  # a second failure must not hide the first
        return f"A reproducer could not be written: {failure}."
    return f"What reproduces it was written to {folder}: please report it with that folder."
