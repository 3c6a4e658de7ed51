"""Shows what a long compilation is doing: on a terminal only, and only after half a second."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PATIENCE_SECONDS = 0.5


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Gives a function that is told the name of each stage."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage: None
        return
    from rich.console import Console

    status = Console(stderr=True).status("starting")
    timer = threading.Timer(_PATIENCE_SECONDS, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda stage: status.update(stage)
    finally:
        timer.cancel()
        status.stop()
