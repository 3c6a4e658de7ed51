"""A compressed model: what was done to it, and its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lepton_cc.compression.output import REPORT, Output
from lepton_cc.compression.stage import StageResult
from lepton_cc.ir.diagnostics import Diagnostic
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.lir_file import write_atomically, write_lir
from lepton_cc.version import __version__


@dataclass(frozen=True, slots=True)
class CompletedStage:
    """A stage's name, what came of it, and how long it took; reports leave the time out."""

    name: str
    result: StageResult
    seconds: float


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressed model; `model`, the ONNX file, is None if ONNX has no form: see `problems`.

    `original` is the float graph that the stages began with, `graph` what they left.
    """

    original: Graph
    graph: Graph
    model_sha256: str
    data_sha256: str
    num_samples: int
    stages: tuple[CompletedStage, ...]
    model: bytes | None
    problems: tuple[Diagnostic, ...]

    @property
    def notes(self) -> tuple[Diagnostic, ...]:
        """What the stages have to say to the user."""
        return tuple(note for one in self.stages for note in one.result.diagnostics)

    def report(self) -> Mapping[str, object]:
        """What was done, as JSON has it."""
        return {
            "lepton_cc": __version__,
            "model_sha256": self.model_sha256,
            "data_sha256": self.data_sha256,
            "num_samples": self.num_samples,
            "problems": [str(problem) for problem in self.problems],
            "notes": [note.message for note in self.notes],
            "stages": [{"stage": one.name, **one.result.report} for one in self.stages],
        }

    def save(self, folder: Path, name: str) -> tuple[Path, ...]:
        """Writes NAME.lir with its constants, NAME.onnx, and the report, all or none of them.

        Gives the paths of the graph, the model if there is one, and the report.

        Raises:
            Refused: the folder cannot be written.
        """
        written = Output(folder, name).write(lambda aside: self._write(aside, name))
        return tuple(path for path in written if not path.name.endswith(".constants.npz"))

    def _write(self, folder: Path, name: str) -> None:
        write_lir(self.graph, folder / f"{name}.lir")
        if self.model is not None:
            write_atomically(self.model, folder / f"{name}.onnx")
        text = json.dumps(self.report(), indent=2, ensure_ascii=False)
        write_atomically(f"{text}\n".encode(), folder / REPORT)
