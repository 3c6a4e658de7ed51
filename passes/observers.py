"""What may watch a pipeline: printing graphs (`--print-ir-after`), dumping them (`--dump-ir`)."""

from collections.abc import Collection
from pathlib import Path
from typing import TextIO

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.lir_file import write_archive, write_text
from lepton_cc.ir.printer import print_graph, printed
from lepton_cc.ir.tensor import Tensor
from lepton_cc.passes.manager import PassRecord

ALL = "all"


class PrintAfter:
    """Prints the graph after the named passes; `all` means every pass that changed something."""

    def __init__(self, names: Collection[str], stream: TextIO) -> None:
        self._names = frozenset(names)
        self._stream = stream

    def __call__(self, record: PassRecord, graph: Graph) -> None:
        """Prints the graph if the pass is one of the named."""
        if record.name in self._names or (ALL in self._names and record.changed):
            self._stream.write(f"// after {record.name}\n{print_graph(graph)}\n")


class DumpGraphs:
    """Writes the graph after each pass that changed it: `00-import.lir`, `01-fold-constants.lir`.

    The numbers count files; the constants of all of them share one archive.
    """

    ARCHIVE = "constants.npz"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._num_written = 0
        self._constants: dict[str, Tensor] = {}

    def __call__(self, record: PassRecord, graph: Graph) -> None:
        """Writes the graph if the pass changed it."""
        if not record.changed:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        result = printed(graph)
        archive = self._folder / self.ARCHIVE
        if not result.constants.keys() <= self._constants.keys():
            self._constants.update(result.constants)
            write_archive(self._constants, archive)
        path = self._folder / f"{self._num_written:02}-{record.name}.lir"
        write_text(result.text, path, archive if result.constants else None)
        self._num_written += 1
