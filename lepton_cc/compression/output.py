"""Where a compressed model's files go: looked at before the work begins, written all or none."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, refuse

REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Output:
    """The files NAME.lir, NAME.constants.npz, NAME.onnx and report.json of a folder."""

    folder: Path
    name: str

    @property
    def file_names(self) -> tuple[str, ...]:
        """In the order in which they appear, the report last."""
        return (f"{self.name}.constants.npz", f"{self.name}.lir", f"{self.name}.onnx", REPORT)

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuses at once what could not be written after minutes, or would be lost.

        `inputs` are the files that the work reads.

        Raises:
            Refused: the name is none of a file, the folder cannot be written, or files there are
                inputs or no earlier output.
        """
        problems = [
            Diagnostic(Code.OUTPUT_FAILED, message, hint=hint)
            for message, hint in self._problems(inputs)
        ]
        if problems:
            raise Refused(problems)

    def _problems(self, inputs: Sequence[Path]) -> Iterator[tuple[str, str]]:
        if not self.name or re.search(r"[/\\\0]", self.name) or self.name.startswith("."):
            yield f"{self.name!r} is no name of a file", "choose another --name"
            return
        there = self.folder.resolve()
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            yield f"{there} is no folder", "choose another -o folder"
            return
        if not os.access(there, os.W_OK | os.X_OK):
            yield f"{there} may not be written to", "choose another -o folder"
            return
        lost = [name for name in self.file_names if os.path.lexists(self.folder / name)]
        read = [name for name in lost if self._is_one_of(name, inputs)]
        if read:
            yield (
                f"{self.folder} holds {', '.join(read)}, which is read and would be overwritten",
                "choose another -o folder or --name",
            )
        elif lost and not self._is_ours():
            yield (
                f"{self.folder} holds {', '.join(lost)}, which lepton compress did not write",
                "choose another -o folder or --name, or remove them",
            )

    def _is_one_of(self, name: str, inputs: Sequence[Path]) -> bool:
        path = self.folder / name
        return any(one.exists() and path.exists() and path.samefile(one) for one in inputs)

    def _is_ours(self) -> bool:
        try:
            report = json.loads((self.folder / REPORT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(report, dict) and "lepton_cc" in report

    def write(self, fill: Callable[[Path], None]) -> tuple[Path, ...]:
        """Renames into place what `fill` writes into a folder aside; gives the files' paths.

        Files of these names that it does not write are removed.

        Raises:
            Refused: the folder cannot be written; what it held is as it was unless a rename failed.
        """
        try:
            return self._written(fill)
        except OSError as error:
            reason = error.strerror or error
            message = f"cannot write to {self.folder}: {reason}"
            raise refuse(Code.OUTPUT_FAILED, message, hint="choose another -o folder") from error

    def _written(self, fill: Callable[[Path], None]) -> tuple[Path, ...]:
        is_new = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        # Inside, so that renames stay on one file system.
        staging = Path(tempfile.mkdtemp(dir=self.folder, prefix=".", suffix=".new"))
        written = []
        try:
            fill(staging)
            for name in self.file_names:
                if (staging / name).exists():
                    os.replace(staging / name, self.folder / name)
                    written.append(self.folder / name)
                else:
                    (self.folder / name).unlink(missing_ok=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if is_new and not written:
                self.folder.rmdir()
        return tuple(written)
