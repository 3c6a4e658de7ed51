"""Measures compiled models on this machine and writes the pages of results; `make bench` runs it.

    python -m benchmarks.run [--int8 | --npu] [--only TEXT] [--turns N] [--write]

Float models beside ONNX Runtime, for docs/benchmarks.md; with `--int8` quantized networks beside
every library that is installed, for docs/benchmarks-int8.md; with `--npu` the tensor engine, whose
cycles are counted and not timed, for docs/benchmarks-npu.md. `--write` puts the tables into the
page, between its markers.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks import contest, float_page, int8_page
from benchmarks.npu import page as npu_page
from benchmarks.page import write_page


def _show(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--int8", action="store_true", help="quantized networks, not float ones")
    kind.add_argument("--npu", action="store_true", help="quantized networks on lepton-npu")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--turns", type=int, default=0, help="how many turns each gets")
    parser.add_argument("--write", action="store_true", help="update the page of results")
    options = parser.parse_args(arguments)
    if options.npu:
        page, tables = npu_page.PAGE, npu_page.npu_tables(options.only, _show)
    elif options.int8:
        page, turns = int8_page.PAGE, options.turns or int8_page.NUM_TURNS
        tables = int8_page.int8_tables(options.only, _show, turns)
    else:
        page, turns = float_page.PAGE, options.turns or contest.NUM_TURNS
        tables = float_page.float_tables(options.only, _show, turns)
    sys.stdout.write(f"{tables}\n")
    if options.write:
        write_page(page, tables)


if __name__ == "__main__":
    main()
