"""Files of a compressed model: what could not be written is refused first, nothing is left half."""

import errno
import os
from pathlib import Path

import pytest

from lepton_cc.compression.output import REPORT, Output
from lepton_cc.ir.diagnostics import Refused


def fill(folder: Path, content: bytes = b"new") -> None:
    (folder / "net.lir").write_bytes(content)
    (folder / REPORT).write_text('{"lepton_cc": "0"}', encoding="utf-8")


def test_files_of_an_earlier_output_are_replaced_and_removed(tmp_path: Path) -> None:
    output = Output(tmp_path / "a" / "b", "net")
    output.check(())

    def fill_with_model(aside: Path) -> None:
        fill(aside)
        (aside / "net.onnx").write_bytes(b"old")

    assert len(output.write(fill_with_model)) == 3
    output.check(())
    written = output.write(fill)
    assert [path.name for path in written] == ["net.lir", REPORT]
    assert {path.name for path in output.folder.iterdir()} == {"net.lir", REPORT}


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_of_no_file_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="is no name of a file"):
        Output(tmp_path, name).check(())


def test_what_is_read_or_foreign_is_not_overwritten(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(b"precious")
    os.symlink(model, tmp_path / "link.onnx")
    for name in ("net", "link"):
        with pytest.raises(Refused, match="is read and would be overwritten"):
            Output(tmp_path, name).check((model,))
    with pytest.raises(Refused, match="did not write"):
        Output(tmp_path, "net").check(())
    Output(tmp_path, "other").check((model,))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Refused, match="file is no folder"):
            Output(folder, "net").check(())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail(aside: Path) -> None:
        fill(aside, b"half")
        raise error

    fresh, earlier = Output(tmp_path / "fresh", "net"), Output(tmp_path / "earlier", "net")
    earlier.write(fill)
    for output in (fresh, earlier):
        with pytest.raises((Refused, KeyboardInterrupt)):
            output.write(fail)
    assert not fresh.folder.exists()
    assert {path.name for path in earlier.folder.iterdir()} == {"net.lir", REPORT}
    assert (earlier.folder / "net.lir").read_bytes() == b"new"
